//! Registers an action whose name cannot stand in a path.

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: { "hostile": [action("delete/widgets", |_| Ok(()))] },
}
