// What is promised of each binary, read from the binary by LLVM's tools.
import { execFile } from 'node:child_process'
import { statSync } from 'node:fs'
import { promisify } from 'node:util'

const run = promisify(execFile)
const LIMIT = 40 * 1024
const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
const HOST = /^(napi|node_api)_/

const MACHINES = {
  x64: /X86-64|x86_64|AMD64/,
  arm64: /AArch64|ARM64|aarch64/,
  arm: /Machine: +ARM\n/,
  ppc64: /Machine: +PowerPC64\n/,
  riscv64: /Machine: +RISC-V\n/,
  s390x: /Machine: +IBM S\/390\n/,
}

async function tool(program, ...options) {
  return (await run(program, options, { maxBuffer: 1 << 24 })).stdout
}

function matches(text, pattern) {
  return [...text.matchAll(pattern)].map(([, found]) => found)
}

/** @returns {Promise<{ summary: string, problems: string[] }>} */
export async function inspect(file, { folder, triple, tags }) {
  const [system, arch] = folder.split('-')
  const problems = []
  const require = (holds, problem) => {
    if (!holds) problems.push(problem)
  }
  const same = (what, found, allowed) => {
    const extra = found.filter((name) => !allowed.includes(name))
    require(extra.length === 0, `${what}: ${extra.join(', ')}`)
  }
  const exactly = (found) => {
    same('exports', found, EXPORTS)
    require(EXPORTS.every((name) => found.includes(name)), `exports only ${found.join(', ')}`)
  }
  const size = statSync(file).size
  require(size <= LIMIT, `${size} bytes are more than ${LIMIT}`)
  let summary = ''

  if (system === 'darwin') {
    const text = await tool('llvm-readobj', '--file-headers', '--macho-version-min', file)
    require(MACHINES[arch].test(text), 'wrong architecture')
    const minimum = /Version: ([\d.]+)/.exec(text)?.[1]
    require(minimum === '11.0', `needs macOS ${minimum}`)
    const commands = await tool('llvm-objdump', '--macho', '--private-headers', file)
    require(commands.includes('LC_CODE_SIGNATURE'), 'not signed')
    const libraries = matches(commands, /LC_LOAD_DYLIB\n.*\n +name (\S+)/g)
    same('needs', libraries, ['/usr/lib/libSystem.B.dylib'])
    const exported = await tool('llvm-objdump', '--macho', '--exports-trie', file)
    exactly(matches(exported, / _(\S+)$/gm))
    const bound = await tool('llvm-objdump', '--macho', '--bind', '--lazy-bind', file)
    const flat = matches(bound, /flat-namespace +_(\S+)/g)
    same(
      'asks the host for',
      flat,
      flat.filter((name) => HOST.test(name)),
    )
    summary = `macOS ${minimum}, ${libraries.join(' ')}`
  } else if (system === 'win32') {
    const text = await tool(
      'llvm-readobj',
      '--file-headers',
      '--coff-imports',
      '--coff-exports',
      file,
    )
    require(MACHINES[arch].test(text), 'wrong architecture')
    for (const flag of ['DYNAMIC_BASE', 'HIGH_ENTROPY_VA', 'NX_COMPAT']) {
      require(text.includes(`IMAGE_DLL_CHARACTERISTICS_${flag}`), `lacks ${flag}`)
    }
    const libraries = matches(text, /Import \{\n +Name: (\S+)/g)
    // No NODE.EXE: a host may have any name.
    same('needs', libraries, ['KERNEL32.dll', 'WS2_32.dll', 'ucrtbase.dll'])
    exactly(matches(text, /Export \{\n.*\n +Name: (\S+)/g))
    summary = libraries.join(' ')
  } else {
    const text = await tool('llvm-readelf', '-W', '-h', '-l', '-d', '--dyn-syms', file)
    require(MACHINES[arch].test(text), 'wrong architecture')
    require(/GNU_RELRO/.test(text) && /BIND_NOW/.test(text), 'no full RELRO')
    require(/GNU_STACK .* RW /.test(text), 'the stack is executable')
    require(!/TEXTREL/.test(text), 'has text relocations')
    const libraries = matches(text, /NEEDED.*\[(\S+)\]/g)
    const libc = { '.musl': ['libc.so'], '': ['libc.so.7'] }[tags]
    // All glibc's: dlsym is in libdl before 2.34, the stack's guard may be in the loader.
    const loaders = libraries.filter((library) => library.startsWith('ld-linux-'))
    same('needs', libraries, libc ?? ['libc.so.6', 'libdl.so.2', ...loaders])
    const symbols = [...text.matchAll(/(GLOBAL|WEAK) +(\S+) +(?:\[.*\] +)?(\S+) (\S+)$/gm)]
    const exported = symbols.filter(([, , , index]) => index !== 'UND')
    exactly(exported.map(([, , , , symbol]) => symbol))
    const taken = symbols
      .filter(([, , , index]) => index === 'UND')
      .map(([, , , , symbol]) => symbol)
    require(taken.some((symbol) => HOST.test(symbol)), 'asks the host for nothing')
    const bare = taken.filter((symbol) => !HOST.test(symbol))
    same(
      'needs the C++ library for',
      bare.filter((symbol) => symbol.startsWith('_Z')),
      [],
    )
    summary = libraries.join(' ')
    const floor = /gnu\w*\.(2\.\d+)$/.exec(triple)?.[1]
    if (floor !== undefined) {
      same(
        'has no version:',
        bare,
        bare.filter((symbol) => symbol.includes('@')),
      )
      const versions = taken.flatMap((symbol) => symbol.split('@GLIBC_')[1] ?? [])
      const highest = versions.sort((a, b) => minor(a) - minor(b)).at(-1)
      require(minor(highest) <= minor(floor), `needs glibc ${highest}`)
      summary += `, glibc ${highest}`
    }
  }
  return { summary, problems }
}

function minor(version) {
  return Number(version.split('.')[1])
}
