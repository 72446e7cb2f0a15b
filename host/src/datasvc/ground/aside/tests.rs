//! On one thread, as every test here: what is not aside keeps the others waiting.

use std::sync::mpsc;
use std::time::Duration;

use super::aside_at_once;

#[tokio::test]
async fn others_go_on_during_work_aside() {
    let (tell, told) = mpsc::channel();
    let work = aside_at_once(move |_| told.recv_timeout(Duration::from_secs(10)));
    let (went_on, ()) = tokio::join!(work, async { tell.send(()).unwrap() });
    assert!(went_on.unwrap().is_ok());
}
