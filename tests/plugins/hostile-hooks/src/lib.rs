//! Hooks that misuse what they are given. What a hook does is told by the name of the build that fires it; it returns
//! how each attempt went: `ok`, or the code of the error.

mod files;
mod packages;

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    hooks: {
        "hostile": { "BUILD_UPLOAD_SUCCESS": misuse },
    },
}

fn misuse(call: &HookCall) -> Result<Value> {
    let build: hooks::BuildUploadSuccess = call.parameters()?;
    match &*build.build_name {
        "change-files" => files::change(&build),
        "leave" => files::leave(&build),
        "follow-link" => files::follow_link(),
        "open-many" => files::open_many(&build),
        "read-huge" => files::read_huge(),
        "panic" => panic!("the press is jammed"),
        "sleep" => files::sleep(),
        "fail" => Err(Error::new("this build is not to my taste").with_details(json!({ "taste": "salty" }))),
        "packages" => packages::refused(&build),
        "lies" => packages::lies(&build),
        "dropped" => packages::dropped(&build),
        "never-ends" => packages::never_ends(&build),
        "too-large" => packages::too_large(&build),
        "many-packages" => packages::many(&build),
        "again" => packages::again(&build),
        other => Ok(json!({ "build": other, "files": files::listed()? })),
    }
}

/// How an attempt went.
fn outcome<T>(attempt: Result<T>) -> Value {
    match attempt {
        Ok(_) => json!("ok"),
        Err(error) => json!(error.code().map_or_else(|| error.to_string(), |code| code.as_str().to_owned())),
    }
}
