{
  "variables": {
    "werror%": "false",
    # Set by scripts/prebuild.mjs: no C++ library.
    "freestanding%": "false"
  },
  "targets": [
    {
      "target_name": "tcp_keepalive",
      "sources": ["native/binding.cc", "native/watcher.cc"],
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
        "-fstack-protector"
      ],
      "ldflags": ["-Wl,-z,relro", "-Wl,-z,now"],
      "conditions": [
        ["OS != 'win'", {
          "sources": ["native/sockopt_unix.cc"]
        }],
        ["OS == 'linux'", {
          "sources": [
            "native/sockopt_linux.cc",
            "native/poller_linux.cc",
            "native/inspect_linux.cc"
          ]
        }],
        ["OS == 'mac'", {
          "sources": [
            "native/sockopt_bsd.cc",
            "native/sockopt_darwin.cc",
            "native/poller_kqueue.cc"
          ]
        }],
        ["OS == 'freebsd'", {
          "sources": [
            "native/sockopt_bsd.cc",
            "native/sockopt_freebsd.cc",
            "native/poller_kqueue.cc"
          ]
        }],
        ["OS == 'win'", {
          "sources": [
            "native/sockopt_windows.cc",
            "native/find_socket_windows.cc",
            "native/poller_windows.cc"
          ],
          "libraries": ["-lws2_32"]
        }],
        ["freestanding == 'true'", {
          "sources": ["native/freestanding.cc"]
        }],
        ["werror == 'true'", {
          "cflags": ["-Werror"]
        }]
      ]
    }
  ]
}
