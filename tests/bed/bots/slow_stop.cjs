// Preloaded into every Node bot: with STOP_SECONDS set, SIGTERM reaches the bot that much later, so that it goes on
// polling as bots do that finish their work first. The bot itself stays as its author would write it.
const seconds = Number(process.env.STOP_SECONDS ?? 0);

if (seconds > 0) {
  const emit = process.emit;
  let due = false;
  process.emit = function (name, ...rest) {
    if (name !== "SIGTERM" || due) return emit.call(this, name, ...rest);
    setTimeout(() => {
      due = true;
      // Our own listener is one; a bot without any would have been ended by the signal.
      if (process.listenerCount("SIGTERM") > 1) process.emit("SIGTERM", "SIGTERM", 15);
      else process.exit(143);
    }, seconds * 1000);
    return true;
  };
  process.on("SIGTERM", () => {});
}
