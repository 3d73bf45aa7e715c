/** A Nest TCP microservice, without TypeScript's decorators. */
import 'reflect-metadata'
import { Controller, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { MessagePattern, Transport } from '@nestjs/microservices'

class Echo {
  echo(value) {
    return value
  }
  never() {
    return new Promise(() => {})
  }
}
// As @Controller() and @MessagePattern() in TypeScript.
for (const name of ['echo', 'never']) {
  MessagePattern(name)(Echo.prototype, name, Object.getOwnPropertyDescriptor(Echo.prototype, name))
}
Controller()(Echo)
class EchoModule {}
Module({ controllers: [Echo] })(EchoModule)

/** A Nest TCP microservice that does not listen yet. */
export const nestMicroservice = () =>
  NestFactory.createMicroservice(EchoModule, {
    transport: Transport.TCP,
    options: { host: '127.0.0.1', port: 0 },
    // Its logger, which is one for the process, writes to stdout, which is the frame's.
    logger: false,
  })
