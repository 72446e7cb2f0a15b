use super::*;

fn row(username: &str, address: &str, failures: i32, seconds: f64) -> Remembered {
    Remembered { username: username.into(), address: address.into(), failures, seconds, is_own: false }
}

#[test]
fn each_failure_doubles_the_wait_up_to_the_longest() {
    let seconds = |failures| WITH_BOTH.wait(failures).as_secs();
    assert_eq!([0, 4, 5, 6, 7, 14, 15, i32::MAX].map(seconds), [0, 0, 1, 2, 4, 512, 900, 900]);
}

#[test]
fn the_longest_wait_of_all_holds_and_time_that_has_passed_counts() {
    assert_eq!(wait(&[]), Duration::ZERO);
    assert_eq!(wait(&[row("ada", "192.0.2.1", 5, 0.25)]), Duration::from_millis(750));
    assert_eq!(wait(&[row("ada", "192.0.2.1", 5, 0.0), row("", "192.0.2.1", 22, 1.0)]), Duration::from_secs(3));
    assert_eq!(wait(&[row("ada", "", 99, 0.0), row("ada", "192.0.2.1", 5, 2.0)]), Duration::ZERO);
    assert_eq!(wait(&[row("ada", "", 1000, 0.0)]), Duration::from_secs(60));
}

#[test]
fn failures_elsewhere_do_not_concern_a_user_at_an_own_address() {
    let own = |failures| Remembered { is_own: true, ..row("ada", "192.0.2.1", failures, 0.0) };
    let elsewhere = || [row("ada", "", 1000, 0.0), row("", "192.0.2.1", 1000, 0.0)];
    assert_eq!(wait(&elsewhere()), Duration::from_secs(900));
    let [user, address] = elsewhere();
    assert_eq!(wait(&[own(0), user, address]), Duration::ZERO);
    let [user, address] = elsewhere();
    assert_eq!(wait(&[own(5), user, address]), Duration::from_secs(1));
}

#[test]
fn an_address_of_ipv6_counts_as_its_network() {
    let address = |text: &str| Attempt::new(None, text.parse().unwrap()).address;
    assert_eq!(address("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(address("::ffff:192.0.2.1"), "192.0.2.1");
}
