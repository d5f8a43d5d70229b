// Messages of a channel for a reader that takes them one by one.

import type { Channel } from "./channel.js";
import { SkeinError } from "./error.js";
import type { Events, Message } from "./frames.js";

export function iterate<E extends Events>(channel: Channel<E>, bound: number): AsyncIterableIterator<Message<E>> {
  const buffer: Message<E>[] = [];
  let over = false;
  let failed: SkeinError | undefined;
  let wake = () => {};
  let news: Promise<void>;
  const renew = () => {
    wake();
    news = new Promise((resolve) => { wake = resolve; });
  };
  const finish = (error?: SkeinError) => {
    for (const off of offs.splice(0)) off();
    failed ??= error;
    over = true;
    renew();
  };
  const offs = [
    channel.on("message", (message) => {
      if (buffer.length >= bound) {
        if (message.seq) return finish(new SkeinError("too_large", `${channel.name}: ${bound} messages wait already`));
        buffer.shift();
        channel._emit("dropped", { channel: channel.name, count: 1, local: true });
      }
      buffer.push(message);
      renew();
    }),
    channel.on("error", finish),
    channel.on("unsubscribed", () => finish()),
    channel.on("closed", finish),
  ];
  renew();

  return {
    async next() {
      while (!buffer.length) {
        const error = failed;
        failed = undefined; // it is told once
        if (error) throw error;
        if (over) return { done: true, value: undefined };
        await news;
      }
      return { done: false, value: buffer.shift()! };
    },
    async return() {
      finish();
      buffer.length = 0;
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
