// So that nothing is found clean which was never loaded: node loaded.cjs FOLDER
require('../../dist/index.js').support.setKeepalive
const [, , folder] = process.argv
const { sharedObjects } = process.report.getReport()
const here = sharedObjects.find((file) => file.endsWith('keepalive.node'))
if (!here?.startsWith(`${folder}/`)) throw new Error(`loaded: ${here}`)
console.log(here)
