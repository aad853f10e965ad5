// What a good engineer would write for the same task in Node.js: Express, ioredis, MongoDB's driver,
// a process a core. It keeps none of the guarantees beside the scripts' own: no limiter, no tokens,
// no fence, no worker. Two calls, with the answers that buyers.lua reads.
// Environment: PORT, PROCESSES, REDIS_URL, MONGODB_URI, HOLD_SEATS (the script's source).
import cluster from 'node:cluster';
import { randomBytes } from 'node:crypto';

import express from 'express';
import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';

const { PORT, PROCESSES, REDIS_URL, MONGODB_URI, HOLD_SEATS } = process.env;

if (cluster.isPrimary) {
  for (let i = 0; i < Number(PROCESSES); i += 1) cluster.fork();
  cluster.on('exit', () => process.exit(1));
} else {
  const redis = new Redis(REDIS_URL);
  redis.defineCommand('hold_seats', { lua: HOLD_SEATS });
  const mongo = await new MongoClient(MONGODB_URI).connect();
  const bookings = mongo.db('express').collection('bookings', {
    writeConcern: { w: 'majority', journal: true },
  });
  await bookings.createIndex({ event: 1, seats: 1 }, { unique: true });
  const events = new Map();

  // What a process knows of an event: its version, and how many seats its first section has.
  async function lookUp(event) {
    const [version, definition] = await redis.hmget(`event:{${event}}`, 'version', 'definition');
    const sections = JSON.parse(definition).sections;
    const found = { version, paidSeats: sections[0].rows[0].blocks[0].length };
    events.set(event, found);
    return found;
  }

  const app = express();
  app.disable('x-powered-by');
  app.use(express.json({ type: () => true }));

  app.get('/healthz', (request, response) => response.send('ok'));

  app.get('/api/events/:event', async (request, response) => {
    const { version } = await lookUp(request.params.event);
    response.json({ version });
  });

  app.post('/api/events/:event/seats/:seat/hold', async (request, response) => {
    const { event, seat } = request.params;
    const [section, , number] = seat.split('-');
    const { version, paidSeats } = events.get(event) ?? (await lookUp(event));
    const position = (section === 'free' ? paidSeats : 0) + Number(number) - 1;
    const holdId = randomBytes(16).toString('hex');
    const keys = ['event', 'seats', 'holds', 'due', 'clients', 'journal'];
    const [outcome, deadline, now] = await redis.hold_seats(
      keys.length,
      ...keys.map((key) => `${key}:{${event}}`),
      version,
      holdId,
      request.headers['x-forwarded-for'],
      '', // no network,
      0, // and no limit for it
      section === 'free' ? 0 : 2500,
      String(position),
    );
    if (outcome !== 'held') return response.status(409).json({ code: outcome });
    return response.status(201).json({
      hold_id: holdId,
      event,
      seats: [seat],
      amount: section === 'free' ? 0 : 2500,
      currency: 'GBP',
      status: 'held',
      expires_in_ms: deadline - now,
      expires_at: new Date(deadline).toISOString(),
      hold_token: holdId,
    });
  });

  app.post('/api/events/:event/holds/:hold/pay', async (request, response) => {
    const { event, hold } = request.params;
    const known = await redis.hget(`holds:{${event}}`, hold);
    if (!known) return response.status(410).json({ code: 'hold_expired' });
    const { seats, amount_minor: amount, client } = JSON.parse(known);
    const booking = {
      _id: `b${hold}`,
      hold_id: hold,
      event,
      seats,
      amount,
      currency: 'GBP',
      email: request.body.email,
      name: request.body.name,
      booked_at: new Date(),
      status: 'booked',
    };
    await bookings.insertOne(booking);
    // All of the hold ends together: TicketS's worker repairs an event of which a part is missing.
    const end = redis.multi().hdel(`holds:{${event}}`, hold).zrem(`due:{${event}}`, hold);
    for (const position of seats) end.setrange(`seats:{${event}}`, position, 's');
    await end.hdel(`clients:{${event}}`, client).exec();
    return response.status(201).json({ booking_id: booking._id, ...booking });
  });

  app.listen(Number(PORT), '127.0.0.1', 4096);
}
