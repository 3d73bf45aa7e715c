{
  "variables": {
    "werror%": "false"
  },
  "targets": [
    {
      "target_name": "tcp_keepalive",
      "sources": ["native/binding.cc"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=8",
        "NAPI_DISABLE_CPP_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED"
      ],
      "cflags": [
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-fvisibility=hidden",
        "-fstack-protector-strong"
      ],
      "ldflags": ["-Wl,-z,relro", "-Wl,-z,now"],
      "conditions": [
        ["OS == 'linux'", {
          "sources": ["native/sockopt_linux.cc", "native/watcher_linux.cc"]
        }],
        ["werror == 'true'", {
          "cflags": ["-Werror"]
        }]
      ]
    }
  ]
}
