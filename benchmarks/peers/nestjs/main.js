// The peer: one route in NestJS, bare or guarded by passport-jwt, as its documentation has it, or tuned.
//
// BENCH_PLATFORM: fastify or express. BENCH_GUARD: bare; documented, the secret as a string; tuned, as a KeyObject.
// BENCH_PORT: where to listen, on 127.0.0.1. BENCH_SECRET, BENCH_ISSUER, BENCH_AUDIENCE: of the access tokens.
import 'reflect-metadata';

import { createSecretKey } from 'node:crypto';

import { Controller, Get, Module, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AuthGuard, PassportModule, PassportStrategy } from '@nestjs/passport';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ExtractJwt, Strategy } from 'passport-jwt';

const { BENCH_PLATFORM, BENCH_GUARD, BENCH_PORT, BENCH_SECRET, BENCH_ISSUER, BENCH_AUDIENCE } = process.env;
const ADAPTERS = { fastify: () => new FastifyAdapter({ logger: false }), express: () => new ExpressAdapter() };
const KEYS = { documented: (secret) => secret, tuned: (secret) => createSecretKey(Buffer.from(secret, 'utf8')) };

class JwtStrategy extends PassportStrategy(Strategy) {
  constructor() {
    super({
      jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
      secretOrKey: KEYS[BENCH_GUARD](BENCH_SECRET),
      algorithms: ['HS256'],
      issuer: BENCH_ISSUER,
      audience: BENCH_AUDIENCE,
      ignoreExpiration: false,
    });
  }

  validate(claims) {
    return { sub: claims.sub, roles: claims.roles };
  }
}

class Orders {
  read() {
    return { id: 1, item: 'tea', amount: 3, status: 'pending' };
  }
}

class Application {}

// What TypeScript's decorators compile to, so that nothing needs to be compiled.
const guards = BENCH_GUARD === 'bare' ? [] : [UseGuards(AuthGuard('jwt'))];
const route = Object.getOwnPropertyDescriptor(Orders.prototype, 'read');
Reflect.decorate([...guards, Get(':id')], Orders.prototype, 'read', route);
Reflect.decorate([Controller('orders')], Orders);
const parts = BENCH_GUARD === 'bare' ? {} : { imports: [PassportModule], providers: [JwtStrategy] };
Reflect.decorate([Module({ ...parts, controllers: [Orders] })], Application);

const application = await NestFactory.create(Application, ADAPTERS[BENCH_PLATFORM](), { logger: false });
await application.listen(Number(BENCH_PORT), '127.0.0.1');
