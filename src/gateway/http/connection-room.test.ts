import fc from "fast-check";
import { expect, test } from "vitest";
import { ConnectionRoom } from "./connection-room.ts";

test("it is said that there is none with the last one, and that there is some when a tenth has left", () => {
  const said: boolean[] = [];
  const room = new ConnectionRoom(1000, (hasRoom) => said.push(hasRoom));
  for (let at = 0; at < 999; at += 1) room.enter();
  expect(said).toEqual([]);
  room.enter();
  expect([room.isExceeded, said]).toEqual([false, [false]]);
  room.enter();
  expect([room.isExceeded, said]).toEqual([true, [false]]);
  for (let at = 0; at < 100; at += 1) room.leave();
  expect(said).toEqual([false]);
  room.leave();
  expect(said).toEqual([false, true]);
});

test("whoever comes and leaves: said in turns, never too late, and never room without room", () => {
  const steps = fc.array(fc.boolean(), { maxLength: 300 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), steps, (most, comes) => {
      let hasRoom = true;
      let count = 0;
      const room = new ConnectionRoom(most, (now) => {
        expect(now).toBe(!hasRoom);
        hasRoom = now;
      });
      for (const isNew of comes) {
        if (isNew) {
          count += 1;
          room.enter();
        } else if (count > 0) {
          count -= 1;
          room.leave();
        }
        expect(room.isExceeded).toBe(count > most);
        if (count >= most) expect(hasRoom).toBe(false);
        if (count === 0) expect(hasRoom).toBe(true);
      }
    }),
  );
});
