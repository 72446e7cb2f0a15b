//! Actions that do what no plugin should, one a sin, and two that behave, to see that the host is still well.

use elita_plugin::prelude::*;

mod behave;
mod crash;
mod endless;
mod flood;
mod huge;
mod outside;

elita_plugin::plugin! {
    actions: {
        "hostile": [
            action("Loop", endless::compute),
            action("Sleep", endless::sleep),
            action("SleepBusy", endless::ask),

            action("LogFlood", flood::log),
            action("StdoutFlood", flood::stdout),
            action("StderrFlood", flood::stderr),
            action("EntryFlood", flood::entries),
            action("LargeEntries", flood::so_many_large_entries).parameter("count", "integer", "how many"),
            action("CallFlood", flood::calls),
            action("ChangeFlood", flood::changes),
            action("Entries", flood::so_many_entries).parameter("count", "integer", "how many"),
            action("Breed", flood::jobs).parameter("children", "integer", "how many jobs each starts"),
            action("BreedLate", flood::a_job_when_it_is_told_to_stop),
            action("HandleFlood", flood::handles),
            action("MemoryBomb", flood::memory),
            action("FakeLogLines", flood::fake_log_lines),

            action("HugeEntry", huge::entry),
            action("HugeString", huge::string),
            action("HugeResult", huge::result),

            action("Trap", crash::trap),
            action("TrapAfterSomeWords", crash::trap_after_some_words),
            action("Panic", crash::panic),
            action("StackOverflow", crash::overflow_the_stack),
            action("Exit", crash::exit),
            action("Fail", crash::fail),

            action("Environment", outside::environment),
            action("AddPackage", outside::add_package).parameter("build", "text", "the build to add it to"),

            action("Echo", behave::echo).description("Returns what it was called with").idempotent(),
            action("Given", behave::given)
                .description("Returns its optional parameters")
                .optional_parameter("text", "string", "a text")
                .optional_parameter("truth", "boolean", "yes or no")
                .optional_parameter("number", "integer", "a number"),
            action("Noop", behave::noop).description("Does nothing"),
            action("Ask", behave::ask).description("Asks once whether to stop"),
            action("Ticks", behave::ticks).description("Records something again and again").idempotent(),
            action("UntilCancelled", behave::until_cancelled).description("Ends when it is asked to"),
        ],
    },
}
