require('node:net')
