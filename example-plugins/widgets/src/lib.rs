//! An action that takes its time: it says how far it is, and stops when it is asked to. And a hook.

use elita_plugin::prelude::*;

#[cfg(test)]
mod tests;

elita_plugin::plugin! {
    actions: {
        "my_application": [
            action("DeleteWidgets", delete_widgets)
                .description("Deletes widgets")
                .parameter("testing", "boolean (string)", "do not delete widgets for real (true or false)")
                .parameter("count", "integer", "number of widgets to delete"),
        ],
    },
    hooks: {
        "my_application": { "BUILD_UPLOAD_SUCCESS": declare_uploaded_build },
    },
}

/// How many widgets there are.
const STOCK: u32 = 1000;

/// Deletes widgets, one after the other. What it returns is the job's result.
fn delete_widgets(call: &ActionCall) -> Result<Value> {
    let testing: bool = call.parameter("testing")?;
    let count = widget_count(call)?;
    let application = applications::get(&call.application)?;

    let mut deleted = 0;
    jobs::progress(0, "starting")?;
    for number in 1..=count {
        if jobs::cancel_requested() {
            let details = json!({ "deleted": deleted });
            return Err(Error::new(format!("stopped before widget {number}")).with_details(details));
        }
        if number == count.div_ceil(2) {
            jobs::progress(45, "frobnicating the foobar")?;
        }
        if testing {
            log::debug!("would delete widget {number}");
        } else {
            delete_widget(number);
            deleted += 1;
        }
    }
    jobs::progress(100, "finished")?;

    Ok(json!({ "application": application.name, "deleted": deleted, "testing": testing }))
}

fn widget_count(call: &ActionCall) -> Result<u32> {
    let count = call.parameter("count")?;
    if count > STOCK {
        return Err(Error::new(format!("there are {STOCK} widgets, {count} cannot be deleted")));
    }
    Ok(count)
}

/// Stands for the real work. The log is for operators; users see the job's entries.
fn delete_widget(number: u32) {
    log::info!("deleting widget {number}");
}

/// Tells the job of an upload which build it was.
fn declare_uploaded_build(call: &HookCall) -> Result<()> {
    let build: hooks::BuildUploadSuccess = call.parameters()?;
    jobs::append(&json!({ "status": "declared", "build": build.build_name }))?;
    Ok(())
}
