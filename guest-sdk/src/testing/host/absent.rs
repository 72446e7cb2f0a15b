//! The interfaces that are not there in a test: each function panics, and says so.

/// A module with the types of the bindings, and functions that panic.
macro_rules! absent {
    ($module:ident: $(fn $name:ident($($argument:ty),*) -> $result:ty;)*) => {
        pub(crate) mod $module {
            #[allow(unused_imports, reason = "not every interface has all of them")]
            use crate::bindings::elita::plugin::types::{Error, Names, Page};

            #[allow(unused_imports, reason = "types are used where their names are written")]
            pub(crate) use crate::bindings::elita::plugin::$module::*;

            $(
                pub(crate) fn $name($(_: $argument),*) -> Result<$result, Error> {
                    panic!(
                        "`{}::{}` is a function of the host, and `elita_plugin::testing::Host` does not have it: put what \
                         you test into a function that does not call it",
                        stringify!($module),
                        stringify!($name),
                    )
                }
            )*
        }
    };
}

absent! { deployments:
    fn get(&str, &str) -> Deployment;
    fn list(&str, &Page) -> Names;
    fn plan(&str, &Intention) -> DeploymentPlan;
    fn start(&str, &NewDeployment, Option<&str>) -> String;
    fn cancel(&str, &str) -> ();
    fn resume(&str, &str, Option<&str>) -> String;
    fn rollback(&str, &str, Option<&str>) -> String;
}

absent! { git_providers:
    fn get(&str) -> GitProvider;
    fn list(&Page) -> Names;
}

absent! { git_repos:
    fn get(&str, &str) -> GitRepo;
    fn list(&str, &Page) -> Names;
    fn create(&str, &str, &NewGitRepo, &str) -> GitRepo;
    fn update(&str, &str, &str) -> GitRepo;
    fn delete(&str, &str) -> ();
    fn log(&str, &str, Option<&str>, &Page) -> Commits;
    fn diff(&str, &str, Option<&str>, Option<&str>, &Page) -> FileChanges;
}

absent! { gitdeploys:
    fn get(&str, &str) -> Gitdeploy;
    fn list(&str, &Page) -> Names;
    fn create(&str, &str, &NewGitdeploy, &str) -> Gitdeploy;
    fn update(&str, &str, &str) -> Gitdeploy;
    fn delete(&str, &str) -> ();
    fn initialize(&str, &str, &[String]) -> String;
    fn deinitialize(&str, &str, &[String]) -> String;
}

absent! { groups:
    fn get(&str, &str, &[String]) -> Group;
    fn list(&str, &Page) -> Names;
    fn create(&str, &str, &NewGroup, &str) -> Group;
    fn update(&str, &str, &str) -> Group;
    fn delete(&str, &str) -> ();
}

absent! { package_maps:
    fn get(&str, &str) -> PackageMap;
    fn list(&str, &Page) -> Names;
    fn create(&str, &str, &[PackageRule], &str) -> PackageMap;
    fn update(&str, &str, &str) -> PackageMap;
    fn delete(&str, &str) -> ();
}

absent! { salt:
    fn salt_command(&[String], &str, &[String], &[(String, String)], Option<u32>) -> Vec<MinionReturn>;
    fn run_sls(&[String], &str, Option<u32>) -> Vec<MinionReturn>;
    fn highstate(&[String], Option<u32>) -> Vec<MinionReturn>;
}

absent! { servers:
    fn get(&str) -> Server;
    fn list(&Page) -> Names;
    fn environments() -> Vec<(String, Vec<String>)>;
    fn create(&str, &NewServer, &str) -> Server;
    fn update(&str, &str) -> Server;
    fn delete(&str) -> ();
}
