//! Where a table's files are: an object store and a prefix in it.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use crate::error::{Code, EngineError, Result};

/// A table's root. Stores other than the local file system carry their own client.
#[derive(Debug, Clone)]
pub struct Location {
    root: String,
    store_url: ObjectStoreUrl,
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
            store_url: ObjectStoreUrl::local_filesystem(),
            store: None,
            prefix: prefix.to_string(),
        })
    }

    fn remote(root: &str, url: &Url, options: &BTreeMap<String, String>) -> Result<Self> {
        let (store, prefix) = object_store::parse_url_opts(url, options).map_err(|error| {
            // The error's own text may quote option values, which can be secrets.
            let kind = match error {
                object_store::Error::NotSupported { .. } => "this kind of storage is not supported",
                _ => "its storage options were not accepted",
            };
            EngineError::new(Code::Storage, format!("Can't open {}: {kind}", without_secrets(url)))
        })?;
        let origin = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
        let store_url = ObjectStoreUrl::parse(origin).map_err(|_| bad_root(root))?;
        Ok(Self {
            root: without_secrets(url),
            store_url,
            store: Some(Arc::from(store)),
            prefix: prefix.to_string(),
        })
    }

    /// Make the store known to the environment that will read from it.
    pub fn register(&self, environment: &RuntimeEnv) {
        if let Some(store) = &self.store {
            environment.register_object_store(self.store_url.as_ref(), Arc::clone(store));
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

    /// The store's path of a file that the table names by its whole URL, percent-encoded, or absolute path.
    pub fn absolute(&self, path: &str) -> Result<Path> {
        let url = match Url::parse(path) {
            Ok(url) => url,
            Err(_) if self.is_local() && FilePath::new(path).is_absolute() => {
                Url::from_file_path(path).map_err(|()| bad_root(path))?
            }
            Err(_) => return Err(bad_root(path)),
        };
        let store = self.store_url.as_str().trim_end_matches('/');
        if origin(&url) != store && !(url.scheme() == "file" && self.is_local()) {
            let (found, shown) = (origin(&url), without_secrets(&url));
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

/// The parts of a URL that name its store.
fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
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
    fn files_elsewhere_are_refused() {
        let location = Location::parse("/data", &BTreeMap::new()).unwrap();
        assert_eq!(location.file("s3://other/x").unwrap_err().code, Code::Unsupported);
    }
}
