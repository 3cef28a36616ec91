//! Storage options that the process's environment gives: the reader of the log takes them from there as well.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr;

use object_store::ObjectStoreScheme;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use url::Url;

const PREFIXES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// The options, and what the environment says of those that are left out.
pub fn complete(url: &Url, options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let variables = std::env::vars_os();
    complete_from(
        url,
        options,
        variables.filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))),
    )
}

fn complete_from(
    url: &Url,
    options: &BTreeMap<String, String>,
    variables: impl Iterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let given: HashSet<String> = options.keys().filter_map(|key| setting(url, key)).collect();
    let left_out = variables.filter(|(key, _)| {
        let ours = PREFIXES.iter().any(|prefix| key.starts_with(prefix));
        ours && setting(url, key).is_some_and(|setting| !given.contains(&setting))
    });
    left_out.chain(options.clone()).collect()
}

/// The one name of a setting that a store of the URL's kind has, which options and variables spell variously.
fn setting(url: &Url, key: &str) -> Option<String> {
    let key = key.to_ascii_lowercase();
    match ObjectStoreScheme::parse(url).ok()?.0 {
        ObjectStoreScheme::AmazonS3 => name::<AmazonS3ConfigKey>(&key),
        ObjectStoreScheme::MicrosoftAzure => name::<AzureConfigKey>(&key),
        ObjectStoreScheme::GoogleCloudStorage => name::<GoogleConfigKey>(&key),
        _ => None,
    }
}

fn name<Key: FromStr + AsRef<str>>(key: &str) -> Option<String> {
    Key::from_str(key).ok().map(|key| key.as_ref().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(given: &[(&str, &str)]) -> BTreeMap<String, String> {
        given.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn completed(
        url: &str,
        options: &[(&str, &str)],
        variables: &[(&str, &str)],
    ) -> BTreeMap<String, String> {
        complete_from(&Url::parse(url).unwrap(), &pairs(options), pairs(variables).into_iter())
    }

    #[test]
    fn variables_fill_what_options_leave_out() {
        let variables = [("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "theirs"), ("REGION", "x")];
        let found = completed("s3://lake/t", &[("access_key_id", "ours")], &variables);
        assert_eq!(found, pairs(&[("AWS_REGION", "eu-west-1"), ("access_key_id", "ours")]));
    }

    #[test]
    fn variables_of_other_stores_are_left_alone() {
        let variables = [("AWS_REGION", "eu-west-1"), ("GOOGLE_SERVICE_ACCOUNT", "path")];
        assert_eq!(completed("gs://lake/t", &[], &variables), pairs(&variables[1..]));
        assert!(completed("file:///lake/t", &[], &variables).is_empty());
    }
}
