package corpus;

import java.net.URI;
import org.telegram.telegrambots.longpolling.TelegramBotsLongPollingApplication;
import org.telegram.telegrambots.longpolling.util.DefaultGetUpdatesGenerator;
import org.telegram.telegrambots.meta.TelegramUrl;

/** A bot on org.telegram:telegrambots-longpolling that polls and prints what the library prints (through logback). */
public class Telegrambots {
    public static void main(String[] args) throws Exception {
        URI api = URI.create(System.getenv("TELEGRAM_API_URL"));
        TelegramUrl url = TelegramUrl.builder().schema("http").host(api.getHost()).port(api.getPort()).build();
        TelegramBotsLongPollingApplication application = new TelegramBotsLongPollingApplication();
        application.registerBot(System.getenv("BOT_TOKEN"), () -> url, new DefaultGetUpdatesGenerator(),
                updates -> System.out.println(updates.size()));
        Thread.currentThread().join();
    }
}
