require('empty')
