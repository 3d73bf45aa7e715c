exports.nothing = 1
