/**
 * Real servers from Debian's packages: each started by the test on a loopback port and
 * in a temporary folder, as nobody where the test runs as root, and stopped afterwards.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const NOBODY = { uid: 65534, gid: 65534 }
const user = process.getuid() === 0 ? NOBODY : {}

/** The newest PostgreSQL: Debian keeps its programs out of PATH. */
function postgresFolder() {
  const base = '/usr/lib/postgresql'
  if (!existsSync(base)) return undefined
  const [newest] = readdirSync(base).sort((a, b) => b - a)
  const folder = join(base, newest ?? '', 'bin')
  return existsSync(join(folder, 'postgres')) ? folder : undefined
}

/** Where the server's program is, or undefined. */
const inFolders = (name) => () =>
  ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin']
    .map((folder) => join(folder, name))
    .find((file) => existsSync(file))

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/**
 * What must be installed for each, and how it starts: `run` is for what goes on, `setUp` for what comes to an end.
 * What `start` returns are further ports, by name.
 */
export const SERVERS = {
  postgres: {
    package: 'postgresql',
    find: postgresFolder,
    start({ program, folder, port, run, setUp }) {
      const data = join(folder, 'data')
      setUp(join(program, 'initdb'), ['-D', data, '-U', 'test', '-A', 'trust', '--no-sync'])
      run(join(program, 'postgres'), [
        ...['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', folder],
        ...['-c', 'fsync=off'],
      ])
    },
  },
  mariadb: {
    package: 'mariadb-server',
    find: inFolders('mariadbd'),
    start({ program, folder, port, run, setUp }) {
      const data = join(folder, 'data')
      const common = ['--no-defaults', `--datadir=${data}`]
      setUp('mariadb-install-db', [
        ...common,
        ...['--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve'],
      ])
      run(program, [
        ...common,
        ...[`--port=${port}`, '--bind-address=127.0.0.1', `--socket=${join(folder, 'socket')}`],
        ...[`--pid-file=${join(folder, 'pid')}`, '--skip-grant-tables', '--skip-networking=0'],
      ])
    },
  },
  redis: {
    package: 'redis-server',
    find: inFolders('redis-server'),
    start({ program, folder, port, run }) {
      run(program, ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''])
    },
  },
  nats: {
    package: 'nats-server',
    find: inFolders('nats-server'),
    start({ program, port, run }) {
      run(program, ['-a', '127.0.0.1', '-p', String(port)])
    },
  },
  rabbitmq: {
    package: 'rabbitmq-server',
    // Not the wrapper in /usr/sbin, which insists on being root.
    find: () => ['/usr/lib/rabbitmq/bin/rabbitmq-server'].find((file) => existsSync(file)),
    async start({ program, folder, port, run }) {
      const [distribution, epmd] = [await freePort(), await freePort()]
      const [stomp, webStomp] = [await freePort(), await freePort()]
      const plugins = join(folder, 'plugins')
      writeFileSync(plugins, '[rabbitmq_amqp1_0, rabbitmq_web_stomp].\n')
      const config = join(folder, 'rabbitmq.conf')
      writeFileSync(
        config,
        `stomp.listeners.tcp.1 = 127.0.0.1:${stomp}\n` +
          `web_stomp.tcp.ip = 127.0.0.1\nweb_stomp.tcp.port = ${webStomp}\n`,
      )
      const env = {
        HOME: folder,
        ERL_EPMD_PORT: String(epmd),
        ERL_EPMD_ADDRESS: '127.0.0.1',
        RABBITMQ_NODENAME: 'clients@localhost',
        RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
        RABBITMQ_NODE_PORT: String(port),
        RABBITMQ_DIST_PORT: String(distribution),
        RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
        RABBITMQ_LOG_BASE: join(folder, 'log'),
        RABBITMQ_PID_FILE: join(folder, 'pid'),
        RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
        RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
        RABBITMQ_CONFIG_FILE: config,
      }
      // Started here, as the one that RabbitMQ starts by itself stays when it ends.
      run('epmd', ['-port', String(epmd), '-address', '127.0.0.1'], env)
      run(program, [], env)
      return { webStomp }
    },
  },
  mosquitto: {
    package: 'mosquitto',
    find: inFolders('mosquitto'),
    start({ program, folder, port, run }) {
      const file = join(folder, 'mosquitto.conf')
      writeFileSync(file, `listener ${port} 127.0.0.1\nallow_anonymous true\n`)
      run(program, ['-c', file])
    },
  },
  /** Only the user that it runs as can log in, with the key in CLIENTS_SSH_KEY. */
  ssh: {
    package: 'openssh-server',
    find: inFolders('sshd'),
    start({ program, folder, port, run, setUp }) {
      const key = join(folder, 'key')
      setUp('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
      process.env.CLIENTS_SSH_KEY = key
      const file = join(folder, 'sshd_config')
      // With PAM, as libnss-systemd says that nobody's account is locked, and sshd alone obeys that.
      writeFileSync(
        file,
        `Port ${port}
ListenAddress 127.0.0.1
HostKey ${key}
AuthorizedKeysFile ${key}.pub
StrictModes no
UsePAM yes
PidFile none
Subsystem sftp internal-sftp
`,
      )
      run(program, ['-D', '-e', '-f', file])
    },
  },
  ldap: {
    package: 'slapd',
    find: inFolders('slapd'),
    start({ program, folder, port, run }) {
      const file = join(folder, 'slapd.conf')
      writeFileSync(
        file,
        `include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile ${join(folder, 'pid')}
database mdb
suffix dc=test
rootdn cn=admin,dc=test
rootpw secret
directory ${folder}
`,
      )
      run(program, ['-d', '0', '-f', file, '-h', `ldap://127.0.0.1:${port}`])
    },
  },
  smtp: {
    package: 'python3-aiosmtpd',
    find: inFolders('aiosmtpd'),
    start({ program, port, run }) {
      run(program, ['-n', '-l', `127.0.0.1:${port}`, '-c', 'aiosmtpd.handlers.Sink'])
    },
  },
  /** Any user and any password. */
  imap: {
    package: 'dovecot-imapd',
    find: inFolders('dovecot'),
    start({ program, folder, port, run }) {
      const file = join(folder, 'dovecot.conf')
      const id = (option) => spawnSync('id', [option], { ...user, encoding: 'utf8' }).stdout.trim()
      const who = id('-un')
      writeFileSync(
        file,
        `protocols = imap
listen = 127.0.0.1
base_dir = ${join(folder, 'run')}
state_dir = ${join(folder, 'run')}
log_path = /dev/stderr
default_internal_user = ${who}
default_internal_group = ${id('-gn')}
default_login_user = ${who}
ssl = no
disable_plaintext_auth = no
mail_location = maildir:${join(folder, 'mail', '%u')}
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=${id('-u')} gid=${id('-g')} home=${folder}
}
service anvil {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    port = ${port}
  }
  inet_listener imaps {
    port = 0
  }
}
`,
      )
      run(program, ['-F', '-c', file])
    },
  },
  /** Anonymous, with one file that is too large for any buffer. */
  ftp: {
    package: 'vsftpd',
    find: inFolders('vsftpd'),
    start({ program, folder, port, run }) {
      const files = join(folder, 'files')
      mkdirSync(files)
      writeFileSync(join(files, 'large'), '')
      truncateSync(join(files, 'large'), 2 ** 30)
      const file = join(folder, 'vsftpd.conf')
      writeFileSync(
        file,
        `listen=YES
background=NO
listen_address=127.0.0.1
listen_port=${port}
run_as_launching_user=YES
anonymous_enable=YES
no_anon_password=YES
anon_root=${files}
connect_from_port_20=NO
seccomp_sandbox=NO
`,
      )
      // It refuses a configuration of another user.
      if (user.uid !== undefined) chownSync(file, user.uid, user.gid)
      run(program, [file])
    },
  },
  memcached: {
    package: 'memcached',
    find: inFolders('memcached'),
    start({ program, port, run }) {
      run(program, ['-l', '127.0.0.1', '-p', String(port)])
    },
  },
  /** An HTTP proxy, with CONNECT. */
  tinyproxy: {
    package: 'tinyproxy-bin',
    find: inFolders('tinyproxy'),
    start({ program, folder, port, run }) {
      const file = join(folder, 'tinyproxy.conf')
      writeFileSync(file, `Port ${port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\n`)
      run(program, ['-d', '-c', file])
    },
  },
  /** A SOCKS 5 proxy. */
  microsocks: {
    package: 'microsocks',
    find: inFolders('microsocks'),
    start({ program, port, run }) {
      run(program, ['-i', '127.0.0.1', '-p', String(port)])
    },
  },
}

/** The packages whose server is not on this machine, of those with these names. */
export function missing(names) {
  return [...names]
    .map((name) => SERVERS[name])
    .filter(({ find }) => find() === undefined)
    .map((server) => server.package)
}

/** Starts those with these names, all at once; gives their ports, and what stops them. */
export async function startServers(names) {
  const base = mkdtempSync(join(tmpdir(), 'clients-'))
  chmodSync(base, 0o755)
  const children = []
  const stop = async () => {
    const alive = children.filter(
      ({ exitCode, signalCode }) => exitCode === null && signalCode === null,
    )
    for (const child of alive) process.kill(-child.pid, 'SIGKILL')
    await Promise.all(alive.map((child) => once(child, 'exit')))
    rmSync(base, { recursive: true, force: true, maxRetries: 5 })
  }
  const startOne = async (name) => {
    const { find, start } = SERVERS[name]
    const folder = join(base, name)
    mkdirSync(folder)
    if (user.uid !== undefined) chownSync(folder, user.uid, user.gid)
    const port = await freePort()
    let output = ''
    const failed = (what) => new Error(`${name}: ${what}\n${output.slice(-3000)}`)
    const options = (env = {}) => ({
      ...user,
      cwd: folder,
      env: { ...process.env, HOME: folder, ...env },
    })
    const run = (file, args, env) => {
      const child = spawn(file, args, {
        ...options(env),
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      child.on('error', (error) => {
        output += error.message
      })
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text) => {
          output = (output + text).slice(-10_000)
        })
      }
      children.push(child)
    }
    const setUp = (file, args) => {
      const { status, stdout, stderr, error } = spawnSync(file, args, options())
      if (status !== 0) throw failed(`${file} failed: ${error ?? ''}\n${stdout}\n${stderr}`)
    }
    const ports = { [name]: port, ...(await start({ program: find(), folder, port, run, setUp })) }
    const deadline = Date.now() + 60_000
    for (const each of Object.values(ports)) {
      for (; !(await answers(each)); await sleep(100)) {
        if (Date.now() > deadline) throw failed('does not listen')
      }
    }
    return ports
  }
  try {
    const ports = await Promise.all([...names].map(startOne))
    return { ports: Object.assign({}, ...ports), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true))
    socket.on('error', () => resolve(false)).on('connect', () => socket.destroy())
  })
}
