"""Everything that touches the world: the API server, Telegram, clocks. Decisions are not made here but in `core`."""
