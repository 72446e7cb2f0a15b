//! `package-maps`.

use elita_plugin::package_maps::{self, PackageRule};
use elita_plugin::prelude::*;

use crate::{APPLICATION, Answers, answer, listed};

pub(crate) fn all() -> Answers {
    let web = PackageRule::new("web", ["web/**", "LICENSE"]).remove_prefix("web/").prefix("htdocs/");
    let api = PackageRule::new("api", ["api/**"]);
    let create = package_maps::create(APPLICATION, "exercised", &[web.clone(), api], &json!({ "by": "plugin" }));
    let change = json!({ "packages": { "api": null, "docs": { "patterns": ["docs/**"] } } });
    let update = package_maps::update(APPLICATION, "exercised", &change);
    let _ = package_maps::create(APPLICATION, "gone", &[web], &json!({}));
    vec![
        ("package-maps.create", answer(create)),
        ("package-maps.update", answer(update)),
        ("package-maps.delete", answer(package_maps::delete(APPLICATION, "gone"))),
        ("package-maps.get", answer(package_maps::get(APPLICATION, "exercised"))),
        ("package-maps.list", listed(package_maps::list(APPLICATION))),
    ]
}
