//! Where a table's files are: an object store and a prefix in it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path as FilePath;
use std::sync::{Arc, LazyLock};

use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use super::environment;
use crate::checksum::checksum;
use crate::error::{Code, EngineError, Result};

const LOCAL: &str = "file://";

/// A table's root. Stores other than the local file system carry their own client.
#[derive(Debug, Clone)]
pub struct Location {
    root: String,
    /// The parts of the root's URL that name its store.
    origin: String,
    /// What the store is known by within this process: the origin, and what else tells it from others.
    store_url: ObjectStoreUrl,
    /// What it is known by in every process, under whatever keys it is read.
    shared_url: ObjectStoreUrl,
    store: Option<Arc<dyn ObjectStore>>,
    prefix: String,
}

impl Location {
    /// Parse a root: a local path, or a URL such as `s3://bucket/table`, with its storage options.
    pub fn parse(root: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        match Url::parse(root) {
            Ok(url) if url.scheme() == "file" => {
                Self::local(&url.to_file_path().map_err(|()| bad_root(root))?)
            }
            Ok(url) if url.has_host() => Self::remote(root, &url, options),
            _ => Self::local(FilePath::new(root)),
        }
    }

    fn local(path: &FilePath) -> Result<Self> {
        let display = path.display().to_string();
        let absolute = std::path::absolute(path).map_err(|_| bad_root(&display))?;
        let url = Url::from_directory_path(&absolute).map_err(|()| bad_root(&display))?;
        let prefix = Path::from_url_path(url.path()).map_err(|_| bad_root(&display))?;
        Ok(Self {
            root: absolute.display().to_string(),
            origin: LOCAL.to_string(),
            store_url: ObjectStoreUrl::local_filesystem(),
            shared_url: ObjectStoreUrl::local_filesystem(),
            store: None,
            prefix: prefix.to_string(),
        })
    }

    fn remote(root: &str, url: &Url, options: &BTreeMap<String, String>) -> Result<Self> {
        let options = &environment::complete(url, options);
        let (store, prefix) = object_store::parse_url_opts(url, options).map_err(|error| {
            // The error's own text may quote option values, which can be secrets.
            let kind = match error {
                object_store::Error::NotSupported { .. } => "this kind of storage is not supported",
                _ => "its storage options were not accepted",
            };
            EngineError::new(Code::Storage, format!("Can't open {}: {kind}", without_secrets(url)))
        })?;
        let named = |keys| ObjectStoreUrl::parse(store_name(url, options, keys)).map_err(|_| bad_root(root));
        Ok(Self {
            root: without_secrets(url),
            origin: origin(url),
            store_url: named(keys_mark(options))?,
            shared_url: named(None)?,
            store: Some(Arc::from(store)),
            prefix: prefix.to_string(),
        })
    }

    /// Make the store known to the environment that will read from it.
    ///
    /// Under its shared name, which plans that come as bytes use, the one that was registered last is known.
    pub fn register(&self, environment: &RuntimeEnv) {
        if let Some(store) = &self.store {
            environment.register_object_store(self.store_url.as_ref(), Arc::clone(store));
            environment.register_object_store(self.shared_url.as_ref(), Arc::clone(store));
        }
    }

    /// The path, or the URL without a user's name or password.
    pub fn root(&self) -> &str {
        &self.root
    }

    pub fn is_local(&self) -> bool {
        self.store.is_none()
    }

    pub fn store_url(&self) -> &ObjectStoreUrl {
        &self.store_url
    }

    /// The store's name for other processes.
    pub fn shared_url(&self) -> &ObjectStoreUrl {
        &self.shared_url
    }

    /// The store's path of a file that the table names by its whole URL, percent-encoded, or absolute path.
    pub fn absolute(&self, path: &str) -> Result<Path> {
        let url = match Url::parse(path) {
            Ok(url) => url,
            Err(_) if self.is_local() && FilePath::new(path).is_absolute() => {
                Url::from_file_path(path).map_err(|()| bad_root(path))?
            }
            Err(_) => return Err(bad_root(path)),
        };
        let store = &self.origin;
        if origin(&url) != *store && !(url.scheme() == "file" && self.is_local()) {
            let (found, shown) = (shown_origin(&url), without_secrets(&url));
            let message = format!(
                "The table names the file {shown}, and reads from {store}: files in other stores ({found}), as \
                 shallow clones have them, can't be scanned"
            );
            return Err(EngineError::new(Code::Unsupported, message));
        }
        Path::from_url_path(url.path()).map_err(|error| {
            EngineError::new(Code::ScanInput, format!("Can't read file path {path:?}: {error}"))
        })
    }

    /// The store's path of a file that the table names by `path`: relative to its root and decoded, or its
    /// whole URL, percent-encoded.
    pub fn file(&self, path: &str) -> Result<Path> {
        if Url::parse(path).is_ok_and(|url| url.has_host() || url.scheme() == "file") {
            return self.absolute(path);
        }
        let joined = format!("{}/{path}", self.prefix);
        Path::parse(&joined).map_err(|error| {
            EngineError::new(Code::ScanInput, format!("Can't read file path {path:?}: {error}"))
        })
    }
}

/// The parts of a URL that name its store. Azure's container stands where others have a user.
fn origin(url: &Url) -> String {
    let container = match is_azure(url) {
        true => format!("{}@", url.username()),
        false => String::new(),
    };
    format!("{}://{container}{}", url.scheme(), authority(url))
}

fn shown_origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), authority(url))
}

fn authority(url: &Url) -> &str {
    &url[url::Position::BeforeHost..url::Position::AfterPort]
}

fn is_azure(url: &Url) -> bool {
    matches!(url.scheme(), "abfs" | "abfss" | "adl" | "az" | "azure") && !url.username().is_empty()
}

/// A name for a store that tells it from others at the same host: by its container, by options such as an
/// endpoint, a region or an account, and by a mark of its keys.
fn store_name(url: &Url, options: &BTreeMap<String, String>, keys: Option<u64>) -> String {
    let container = match is_azure(url) {
        true => format!("{}.", url.username()),
        false => String::new(),
    };
    let mut plain: Vec<String> = options
        .iter()
        .filter(|(key, _)| !is_secret(key))
        .map(|(key, value)| format!("{}={value}\n", key.to_lowercase()))
        .collect();
    plain.sort();
    let told_apart = match plain.is_empty() {
        true => String::new(),
        false => format!(".{:016x}", checksum(plain.concat().as_bytes())),
    };
    let keys = keys.map(|mark| format!(".k{mark:016x}")).unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{container}{}{told_apart}{keys}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// A mark that tells keys from others and nothing of them: it is another one in each process.
fn keys_mark(options: &BTreeMap<String, String>) -> Option<u64> {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let secrets: BTreeMap<String, &String> = options
        .iter()
        .filter(|(key, _)| is_secret(key))
        .map(|(key, value)| (key.to_lowercase(), value))
        .collect();
    (!secrets.is_empty()).then(|| HASHER.hash_one(&secrets))
}

fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 7] = ["secret", "token", "password", "sas", "private", "credential", "signature"];
    let key = key.to_lowercase();
    key.ends_with("key") || WORDS.iter().any(|word| key.contains(word))
}

fn bad_root(root: &str) -> EngineError {
    EngineError::new(Code::ScanInput, format!("{root:?} is neither a path nor a URL that a table can be at"))
}

fn without_secrets(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_are_taken_literally() {
        let location = Location::parse("/data/my table%20x/é", &BTreeMap::new()).unwrap();
        let file = location.file("p=a%20b/part-0.parquet").unwrap();
        assert_eq!(file.as_ref(), "data/my table%20x/é/p=a%20b/part-0.parquet");
    }

    #[test]
    fn file_urls_are_decoded() {
        let location = Location::parse("file:///data/my%20table", &BTreeMap::new()).unwrap();
        assert_eq!(location.file("a").unwrap().as_ref(), "data/my table/a");
    }

    #[test]
    fn files_of_other_tables_in_the_same_store_are_found() {
        let location = Location::parse("/data", &BTreeMap::new()).unwrap();
        for path in ["file:///other/a%20b%2520", "file:/other/a%20b%2520"] {
            assert_eq!(location.file(path).unwrap().as_ref(), "other/a b%20");
        }
        assert_eq!(location.absolute("/other/a%20b").unwrap().as_ref(), "other/a%20b");
        let options = BTreeMap::from([("aws_region".to_string(), "eu-west-1".to_string())]);
        let remote = Location::parse("s3://bucket/table", &options).unwrap();
        assert_eq!(remote.file("s3://bucket/other/x").unwrap().as_ref(), "other/x");
        assert_eq!(remote.file("s3://elsewhere/x").unwrap_err().code, Code::Unsupported);
    }

    #[test]
    fn stores_are_told_apart_by_container_and_options_and_here_by_secrets_too() {
        let location = |root: &str, options: &[(&str, &str)]| {
            let options = options.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            Location::parse(root, &options).unwrap()
        };
        let store = |root: &str, options: &[(&str, &str)]| {
            let found = location(root, options);
            (found.store_url().as_str().to_string(), found.shared_url().as_str().to_string())
        };
        let keys = |secret| {
            [("AWS_REGION", "eu-west-1"), ("aws_access_key_id", "key"), ("aws_secret_access_key", secret)]
        };
        let (one, other) = (store("s3://b/t", &keys("hunter2")), store("s3://b/u", &keys("other")));
        assert_eq!(one, store("s3://b/u", &keys("hunter2")));
        assert_ne!(one.0, other.0);
        assert_eq!(one.1, other.1);
        assert!(!one.0.contains("hunter2"));
        let region = |region| store("s3://b/t", &[("aws_region", region)]);
        assert_ne!(region("eu-west-1"), region("us-east-1"));
        let azure = |container: &str| {
            let root = format!("abfss://{container}@account.dfs.core.windows.net/t");
            store(&root, &[("azure_storage_account_key", "aGVsbG8=")])
        };
        assert_ne!(azure("one"), azure("two"));
    }

    #[test]
    fn the_schemes_of_all_stores_are_known() {
        let options = BTreeMap::from([
            ("aws_region".to_string(), "eu-west-1".to_string()),
            ("azure_storage_account_name".to_string(), "account".to_string()),
            ("google_skip_signature".to_string(), "true".to_string()),
        ]);
        for root in [
            "s3://b/t",
            "s3a://b/t",
            "gs://b/t",
            "az://c/t",
            "abfs://c@account.dfs.core.windows.net/t",
            "abfss://c@account.dfs.core.windows.net/t",
        ] {
            let location = Location::parse(root, &options).unwrap();
            assert_eq!(location.file("x/y").unwrap().as_ref(), "t/x/y", "{root}");
            assert_eq!(location.file(&format!("{root}/x")).unwrap().as_ref(), "t/x", "{root}");
        }
    }

    #[test]
    fn files_elsewhere_are_refused() {
        let location = Location::parse("/data", &BTreeMap::new()).unwrap();
        assert_eq!(location.file("s3://other/x").unwrap_err().code, Code::Unsupported);
    }
}
