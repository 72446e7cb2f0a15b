//! On one thread, as every test here: what is not aside keeps the others waiting.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::visible;
use crate::datasvc::access::caller::Caller;
use crate::datasvc::access::permissions::Permissions;
use crate::datasvc::ground::ids::{TokenId, UserName};

#[tokio::test]
async fn names_are_compared_with_very_many_patterns_while_others_go_on() {
    let patterns: Vec<String> = (0..250).map(|number| format!("*{}b{number}*", "a".repeat(60))).collect();
    let (tell, told) = mpsc::channel::<()>();
    let told = Arc::new(Mutex::new(told));
    let may = move |caller: &Caller, name: &String| {
        let _ = told.lock().unwrap().recv_timeout(Duration::from_secs(10));
        matches!(caller, Caller::User { permissions, .. } if permissions.on_server(name))
    };
    let names = vec!["a".repeat(120), format!("{}b7", "a".repeat(70))];
    let caller = caller(&patterns);
    let seen = visible(&caller, names.clone(), may);
    // Were it not for that, `seen` would have to wait for what is only sent after it.
    let (seen, ()) = tokio::join!(seen, async { drop(tell) });
    assert_eq!(seen.unwrap(), names[1..]);
}

#[tokio::test]
async fn few_patterns_are_compared_at_once() {
    let caller = caller(&["web*".into()]);
    let here = std::thread::current().id();
    let may = move |_: &Caller, _: &u32| std::thread::current().id() == here;
    assert_eq!(visible(&caller, vec![1, 2], may).await.unwrap(), [1, 2]);
}

fn caller(servers: &[String]) -> Caller {
    let permissions = serde_json::json!({ "servers": servers });
    Caller::User {
        name: UserName::parse("ada").unwrap(),
        token: TokenId::new(),
        address: None,
        permissions: Arc::new(serde_json::from_value::<Permissions>(permissions).unwrap()),
    }
}
