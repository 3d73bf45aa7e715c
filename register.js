// For `--require /app/node_modules/tcp-keepalive/register`: an absolute path passes by "exports".
require('./dist/register.js')
