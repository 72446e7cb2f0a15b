//! Package maps over HTTP.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{Reply, TestHost};

const MAPS: &str = "/app/shop/packagemaps";
const SPLIT: &str = "/app/shop/packagemaps/split";

#[tokio::test]
async fn a_package_map_is_created_and_shown() {
    let host = with_shop().await;
    let new = json!({
        "name": "split",
        "packages": {
            "web": { "patterns": ["web/**", "LICENSE"], "remove_prefix": "web/", "prefix": "htdocs/" },
            "api": { "patterns": ["api/**/*.{js,json}"] },
        },
        "attributes": { "team": "red" },
    });
    let created = host.client.post(MAPS, &new).await;
    assert_eq!((created.status, created.header("location")), (201, SPLIT), "{created}");
    assert_json_snapshot!(created.body, { ".created_at" => "[time]", ".updated_at" => "[time]" }, @r#"
    {
      "name": "split",
      "application": "shop",
      "app_name": "shop",
      "packages": {
        "api": {
          "patterns": [
            "api/**/*.{js,json}"
          ],
          "remove_prefix": null,
          "prefix": null
        },
        "web": {
          "patterns": [
            "web/**",
            "LICENSE"
          ],
          "remove_prefix": "web/",
          "prefix": "htdocs/"
        }
      },
      "attributes": {
        "team": "red"
      },
      "created_at": "[time]",
      "updated_at": "[time]"
    }
    "#);
    let shown = host.client.get(SPLIT).await;
    assert_eq!((&shown.body, shown.header("etag")), (&created.body, created.header("etag")));
    assert!(shown.header("etag").starts_with('"'), "{shown}");
}

#[tokio::test]
async fn a_package_map_is_created_by_a_put_as_in_the_reference() {
    let host = with_shop().await;
    let packages = "%7B%22web%22%3A%7B%22patterns%22%3A%5B%22**%22%5D%7D%7D";
    let put = host.client.put(&format!("{MAPS}?name=split&packages={packages}")).await;
    assert_eq!((put.status, put.header("location")), (201, SPLIT), "{put}");
    assert_eq!(put.body["packages"]["web"]["patterns"], json!(["**"]));
    assert_eq!(host.client.get(SPLIT).await.body, put.body);
    let no_json = host.client.put(&format!("{MAPS}?name=other&packages=web")).await;
    assert_eq!(no_json.fault(), (422, "packages"), "{no_json}");
}

#[tokio::test]
async fn an_application_says_where_its_package_maps_are() {
    let host = with_shop().await;
    assert_eq!(host.client.get("/app/shop").await.body["containers"]["packagemaps"], MAPS);
}

#[tokio::test]
async fn package_maps_are_listed_by_name_page_by_page() {
    let host = with_shop().await;
    assert_eq!(host.client.get(MAPS).await.items("name"), [""; 0]);
    for name in ["c", "a", "b"] {
        create(&host, name).await;
    }
    let first = host.client.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!((first.items("name"), &first.body["next"]), (vec!["a", "b"], &json!("b")));
    assert_eq!(first.header("link"), format!(r#"<{MAPS}?limit=2&after=b>; rel="next""#));
    let last = host.client.get(&format!("{MAPS}?limit=2&after=b")).await;
    assert_eq!((last.items("name"), &last.body["next"]), (vec!["c"], &Value::Null));
}

#[tokio::test]
async fn package_maps_of_two_applications_are_apart() {
    let host = with_shop().await;
    host.create_application("blog").await;
    create(&host, "split").await;
    assert_eq!(host.client.get("/app/blog/packagemaps").await.items("name"), [""; 0]);
    assert_eq!(host.client.get("/app/blog/packagemaps/split").await.status, 404);
}

#[tokio::test]
async fn a_package_map_that_is_there_is_not_overwritten() {
    let host = with_shop().await;
    let first = create(&host, "split").await;
    let second = json!({ "name": "split", "packages": { "other": { "patterns": ["**"] } } });
    let second = host.client.post(MAPS, &second).await;
    assert_eq!((second.status, &second.body["code"]), (409, &json!("already-exists")), "{second}");
    assert_eq!(host.client.get(SPLIT).await.body, first.body);
}

#[tokio::test]
async fn a_package_map_of_no_application_is_not_found() {
    let host = TestHost::start().await;
    let new = json!({ "name": "split", "packages": { "web": { "patterns": ["**"] } } });
    for reply in [host.client.post(MAPS, &new).await, host.client.get(MAPS).await] {
        assert_eq!(reply.status, 404, "{reply}");
        assert!(reply.body["detail"].as_str().unwrap().contains("application `shop`"), "{reply}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let host = with_shop().await;
    let change = json!({ "attributes": { "a": 1 } });
    let replies = [
        host.client.get(SPLIT).await,
        host.client.patch(SPLIT, &change).await,
        host.client.delete(SPLIT).await,
        host.client.get("/app/shop/packagemaps/_split").await,
    ];
    for reply in replies {
        assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not-found")), "{reply}");
    }
}

#[tokio::test]
async fn arguments_that_are_missing_unknown_or_of_another_type_are_pointed_at() {
    let host = with_shop().await;
    let packages = json!({ "web": { "patterns": ["**"] } });
    for (new, fault) in [
        (json!({ "name": "split" }), (400, "/packages")),
        (json!({ "packages": packages }), (400, "/name")),
        (json!({ "name": "a/b", "packages": packages }), (422, "/name")),
        (json!({ "name": "split", "packages": packages, "app_name": "blog" }), (400, "/app_name")),
        (json!({ "name": "split", "packages": packages, "attributes": [] }), (422, "/attributes")),
    ] {
        let reply = host.client.post(MAPS, &new).await;
        assert_eq!(reply.fault(), fault, "{reply}");
    }
    for packages in [
        json!([]),
        json!({ "web": ["**"] }),
        json!({ "web": { "patterns": "**" } }),
        json!({ "web": { "prefix": "web/" } }),
        json!({ "web": { "patterns": ["**"], "colour": "red" } }),
        json!({ "we/b": { "patterns": ["**"] } }),
    ] {
        let reply = host.client.post(MAPS, &json!({ "name": "split", "packages": packages })).await;
        let (status, pointer) = reply.fault();
        assert!(status == 422 && pointer.starts_with("/packages"), "{reply}");
    }
    assert_eq!(host.client.get(MAPS).await.items("name"), [""; 0]);
}

#[tokio::test]
async fn a_package_that_cannot_be_made_is_pointed_at_whether_it_is_new_or_changed() {
    let host = with_shop().await;
    let before = create(&host, "split").await;
    let long = "x".repeat(513);
    let many_patterns = vec!["a"; 101];
    for (package, pointer) in [
        (json!({ "patterns": [] }), "/packages/web/patterns"),
        (json!({ "patterns": many_patterns }), "/packages/web/patterns"),
        (json!({ "patterns": ["**", ""] }), "/packages/web/patterns/1"),
        (json!({ "patterns": ["/web/**"] }), "/packages/web/patterns/0"),
        (json!({ "patterns": ["web/../**"] }), "/packages/web/patterns/0"),
        (json!({ "patterns": ["a", "web/[a"] }), "/packages/web/patterns/1"),
        (json!({ "patterns": ["a\nb"] }), "/packages/web/patterns/0"),
        (json!({ "patterns": [long] }), "/packages/web/patterns/0"),
        (json!({ "patterns": ["**"], "prefix": "../" }), "/packages/web/prefix"),
        (json!({ "patterns": ["**"], "prefix": "/srv/" }), "/packages/web/prefix"),
        (json!({ "patterns": ["**"], "remove_prefix": long }), "/packages/web/remove_prefix"),
    ] {
        let packages = json!({ "web": package });
        let created = host.client.post(MAPS, &json!({ "name": "other", "packages": packages })).await;
        assert_eq!(created.fault(), (422, pointer), "{created}");
        let changed = host.client.patch(SPLIT, &json!({ "packages": packages })).await;
        assert_eq!(changed.fault(), (422, pointer), "{changed}");
    }
    assert_eq!(host.client.get("/app/shop/packagemaps/other").await.status, 404);
    assert_eq!(host.client.get(SPLIT).await.body, before.body);
}

#[tokio::test]
async fn a_package_map_has_a_bounded_number_of_packages_of_which_none_is_master() {
    let host = with_shop().await;
    let numbered = |count: usize, pattern: &str| -> Value {
        (0..count)
            .map(|n| (format!("p{n}"), json!({ "patterns": [pattern] })))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let large: Value = (0..100)
        .map(|n| (format!("p{n}"), json!({ "patterns": ["x".repeat(400), "y".repeat(400)] })))
        .collect::<serde_json::Map<_, _>>()
        .into();
    for (packages, pointer) in [
        (json!({}), "/packages"),
        (numbered(101, "**"), "/packages"),
        (large, "/packages"),
        (json!({ "master": { "patterns": ["**"] } }), "/packages/master"),
    ] {
        let reply = host.client.post(MAPS, &json!({ "name": "split", "packages": packages })).await;
        assert_eq!(reply.fault(), (422, pointer), "{reply}");
    }
    let most = host.client.post(MAPS, &json!({ "name": "split", "packages": numbered(100, "**") })).await;
    assert_eq!(most.status, 201, "{most}");
}

#[tokio::test]
async fn a_merge_patch_changes_adds_and_removes_packages() {
    let host = with_shop().await;
    let before = create(&host, "split").await;
    let change = json!({
        "packages": {
            "web": { "patterns": ["public/**"], "prefix": null },
            "docs": { "patterns": ["docs/**"] },
            "api": null,
        },
        "attributes": { "team": null, "more": true },
    });
    let changed = host.client.patch(SPLIT, &change).await;
    assert_eq!(changed.status, 200, "{changed}");
    let packages = json!({
        "docs": { "patterns": ["docs/**"], "remove_prefix": null, "prefix": null },
        "web": { "patterns": ["public/**"], "remove_prefix": "web/", "prefix": null },
    });
    assert_eq!(changed.body["packages"], packages);
    assert_eq!(changed.body["attributes"], json!({ "more": true }));
    assert_ne!(changed.header("etag"), before.header("etag"));
    let shown = host.client.get(SPLIT).await;
    assert_eq!((&shown.body, shown.header("etag")), (&changed.body, changed.header("etag")));
}

#[tokio::test]
async fn a_json_patch_changes_single_patterns() {
    let host = with_shop().await;
    create(&host, "split").await;
    let operations = json!([
        { "op": "test", "path": "/packages/web/patterns/0", "value": "web/**" },
        { "op": "add", "path": "/packages/web/patterns/-", "value": "LICENSE" },
        { "op": "remove", "path": "/packages/api" },
    ]);
    let changed = host.client.patch_by(SPLIT, &operations).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_eq!(changed.body["packages"]["web"]["patterns"], json!(["web/**", "LICENSE"]));
    assert_eq!(changed.body["packages"].as_object().unwrap().len(), 1);

    let without = host.client.patch_by(SPLIT, &json!([{ "op": "remove", "path": "/packages" }])).await;
    assert_eq!(without.fault(), (422, "/packages"), "{without}");
    assert_eq!(host.client.get(SPLIT).await.body, changed.body);
}

#[tokio::test]
async fn a_patch_of_what_is_fixed_or_unknown_changes_nothing() {
    let host = with_shop().await;
    let before = create(&host, "split").await;
    for (change, pointer) in [
        (json!({ "name": "other" }), "/name"),
        (json!({ "app_name": "blog" }), "/app_name"),
        (json!({ "created_at": "2026-11-22T10:36:00Z" }), "/created_at"),
        (json!({ "colour": "red" }), "/colour"),
        (json!({ "packages": null }), "/packages"),
        (json!({ "packages": { "web": { "colour": "red" } } }), "/packages/web/colour"),
        (json!({ "packages": { "web": { "patterns": ["a", 7] } } }), "/packages/web/patterns/1"),
        (json!({ "packages": { "docs": { "prefix": "docs/" } } }), "/packages/docs"),
    ] {
        let refused = host.client.patch(SPLIT, &change).await;
        assert_eq!(refused.fault(), (422, pointer), "{refused}");
    }
    let shown = host.client.get(SPLIT).await;
    assert_eq!((&shown.body, shown.header("etag")), (&before.body, before.header("etag")));
}

#[tokio::test]
async fn a_package_map_that_has_changed_since_is_neither_changed_nor_removed() {
    let host = with_shop().await;
    let old = create(&host, "split").await.header("etag").to_owned();
    let first = host.client.patch_if(SPLIT, &old, &json!({ "attributes": { "by": "first" } })).await;
    assert_eq!(first.status, 200, "{first}");
    let second = host.client.patch_if(SPLIT, &old, &json!({ "attributes": { "by": "second" } })).await;
    assert_eq!((second.status, &second.body["code"]), (412, &json!("changed")), "{second}");
    assert_eq!(host.client.delete_if(SPLIT, &old).await.status, 412);
    assert_eq!(host.client.get(SPLIT).await.body, first.body);
    assert_eq!(host.client.delete_if(SPLIT, first.header("etag")).await.status, 204);
}

#[tokio::test]
async fn a_package_map_that_was_removed_is_gone_and_its_name_is_free() {
    let host = with_shop().await;
    create(&host, "split").await;
    let removed = host.client.delete(SPLIT).await;
    assert_eq!((removed.status, &removed.body), (204, &Value::Null), "{removed}");
    assert_eq!(host.client.get(SPLIT).await.status, 404);
    assert_eq!(host.client.delete(SPLIT).await.status, 404);
    create(&host, "split").await;
}

#[tokio::test]
async fn package_maps_go_with_their_application() {
    let host = with_shop().await;
    create(&host, "split").await;
    assert_eq!(host.client.delete("/app/shop").await.status, 204);
    host.create_application("shop").await;
    assert_eq!(host.client.get(MAPS).await.items("name"), [""; 0]);
}

async fn with_shop() -> TestHost {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    host
}

async fn create(host: &TestHost, name: &str) -> Reply {
    let packages = json!({
        "web": { "patterns": ["web/**"], "remove_prefix": "web/", "prefix": "htdocs/" },
        "api": { "patterns": ["api/**"] },
    });
    let new = json!({ "name": name, "packages": packages, "attributes": { "team": "red" } });
    let created = host.client.post(MAPS, &new).await;
    assert_eq!(created.status, 201, "{created}");
    created
}
