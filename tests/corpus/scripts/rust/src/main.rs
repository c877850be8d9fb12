//! A bot on teloxide that polls and prints what the library prints.
use teloxide::prelude::*;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    pretty_env_logger::init_timed();
    let url = std::env::var("TELEGRAM_API_URL").unwrap().parse().unwrap();
    let bot = Bot::new(std::env::var("BOT_TOKEN").unwrap()).set_api_url(url);
    teloxide::repl(bot, |_: Bot, _: Message| async move { Ok(()) }).await;
}
