package corpus;

import com.pengrad.telegrambot.TelegramBot;
import com.pengrad.telegrambot.UpdatesListener;

/** A bot on com.github.pengrad:java-telegram-bot-api that polls and prints what the library prints. */
public class Pengrad {
    public static void main(String[] args) throws Exception {
        TelegramBot bot = new TelegramBot.Builder(System.getenv("BOT_TOKEN"))
                .apiUrl(System.getenv("TELEGRAM_API_URL") + "/bot").build();
        bot.setUpdatesListener(updates -> UpdatesListener.CONFIRMED_UPDATES_ALL);
        Thread.currentThread().join();
    }
}
