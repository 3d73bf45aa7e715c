// What Linux' headers call these, for those who take a number.
export const SOL_SOCKET = 1
export const IPPROTO_TCP = 6
export const SO_KEEPALIVE = 9
export const TCP_KEEPIDLE = 4
export const TCP_KEEPINTVL = 5
export const TCP_KEEPCNT = 6
export const TCP_USER_TIMEOUT = 18
