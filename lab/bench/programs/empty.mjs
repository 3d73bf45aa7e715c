import 'empty'
