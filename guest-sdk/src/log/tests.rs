use crate::log::Level;
use crate::prelude::*;
use crate::testing::Host;

#[test]
fn records_of_the_crates_log_and_tracing_arrive() {
    let mut host = Host::new();
    host.run(|| {
        log::info!("deleted {} of {}", 3, 10);
        ::log::log!(target: "rustls", Level::Warn, "no certificate");
        tracing::debug!(widgets = 3, press = "left", "the press is warm");
        tracing::info_span!("pressing", press = 1).in_scope(|| tracing::error!("jammed"));
        crate::log::write(Level::Trace, "by hand");
    });
    let lines: Vec<_> = host.log().iter().map(|(level, line)| (*level, line.as_str())).collect();
    assert_eq!(
        lines,
        [
            (Level::Info, "deleted 3 of 10"),
            (Level::Warn, "no certificate"),
            (Level::Debug, "the press is warm widgets=3 press=\"left\""),
            (Level::Error, "jammed"),
            (Level::Trace, "by hand"),
        ]
    );
}
