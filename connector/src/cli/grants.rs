//! Time-bound access: granting it, following it, and ending it.
//!
//! What is asked is taken apart in `asked`, and shown by `show`; `follow` waits for what the
//! daemon does in AWS, as the daemon itself never does within a call.

use apono_connector_proto::v1::{
    ExtendRequest, ForgetRequest, GetGrantRequest, access_service_client::AccessServiceClient,
};

use super::connect::{Client, Way};

mod asked;
mod create;
mod follow;
mod lists;
mod revoke;
mod show;

use self::{
    asked::EndFlags,
    create::Create,
    lists::{Acts, List},
    revoke::{Revoke, RevokeAll},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Grants {
    /// Grants access until an end; the same once more answers the grant that is there.
    Create(Box<Create>),
    /// Shows a grant: how far it is, and how a person gets in.
    Get {
        /// Id of the grant.
        #[arg(value_name = "ID")]
        grant: String,
    },
    /// Follows a grant until it has ended, with a line for each change.
    Watch {
        /// Id of the grant.
        #[arg(value_name = "ID")]
        grant: String,
    },
    /// Lists grants, newest first.
    List(List),
    /// Moves the end of a grant, later or earlier.
    Extend {
        /// Id of the grant.
        #[arg(value_name = "ID")]
        grant: String,
        #[command(flatten)]
        end: EndFlags,
    },
    /// Ends a grant now; once more changes nothing.
    Revoke(Revoke),
    /// Ends all grants that fit; what is given counts together.
    RevokeAll(Box<RevokeAll>),
    /// Gives up the removal of what a grant that is over has left in AWS: look there first.
    Forget {
        /// Id of the grant.
        #[arg(value_name = "ID")]
        grant: String,
        /// What was seen in AWS, and why it is given up.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Lists what was asked, and what was done in AWS for it, newest first.
    Acts(Acts),
}

type Api = AccessServiceClient<Way>;

impl Grants {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(client).await,
            Self::Get { grant } => get(client, grant).await,
            Self::Watch { grant } => follow::watch(client, &grant).await,
            Self::List(list) => list.run(client).await,
            Self::Extend { grant, end } => extend(client, grant, end).await,
            Self::Revoke(revoke) => revoke.run(client).await,
            Self::RevokeAll(revoke) => revoke.run(client).await,
            Self::Forget { grant, reason, yes } => forget(client, grant, reason, yes).await,
            Self::Acts(acts) => acts.run(client).await,
        }
    }
}

async fn get(client: &Client, grant_id: String) -> anyhow::Result<()> {
    let mut api = Api::new(client.way.clone());
    let request = GetGrantRequest { connector_id: client.connector_id.clone(), grant_id };
    let answer = api.get_grant(request).await?.into_inner();
    show::answer(client, &answer, answer.grant.as_ref())
}

async fn extend(client: &Client, grant_id: String, end: EndFlags) -> anyhow::Result<()> {
    let mut api = Api::new(client.way.clone());
    let request = ExtendRequest {
        connector_id: client.connector_id.clone(),
        grant_id,
        expire_time: Some(end.expire_time()?),
    };
    let answer = api.extend(request).await?.into_inner();
    show::answer(client, &answer, answer.grant.as_ref())
}

async fn forget(
    client: &Client,
    grant_id: String,
    reason: String,
    yes: bool,
) -> anyhow::Result<()> {
    let question = format!(
        "Give up removing what {grant_id} has left in AWS? It stays there until somebody removes it"
    );
    if !yes && !inquire::Confirm::new(&question).with_default(false).prompt()? {
        anyhow::bail!("nothing was given up");
    }
    let mut api = Api::new(client.way.clone());
    let connector_id = client.connector_id.clone();
    let request = ForgetRequest { connector_id, grant_id, reason };
    let answer = api.forget(request).await?.into_inner();
    show::answer(client, &answer, answer.grant.as_ref())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        grants: Grants,
    }

    fn parsed(line: &str) -> Result<Grants, String> {
        let words = ["grants"].into_iter().chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.grants).map_err(|error| error.to_string())
    }

    const UNIT: &str = "--unit 222222222222/ReadOnly";

    #[test]
    fn a_grant_needs_one_recipient_one_end_and_a_unit() {
        let rest = "--integration prod --reason ticket-7";
        let good = [
            format!("create {rest} {UNIT} --user ann@example.com --for 1h"),
            format!("create g-1 {rest} {UNIT} --group-id g --until 2026-07-01T18:00:00Z --wait"),
            format!("create {rest} {UNIT} {UNIT} --user-name ann --for 90s --wait --timeout 1m"),
        ];
        for line in good {
            assert!(parsed(&line).is_ok(), "{line}: {:?}", parsed(&line));
        }
        let wrong = [
            (format!("create {rest} {UNIT} --for 1h"), "--user"),
            (format!("create {rest} {UNIT} --user a --group b --for 1h"), "--group"),
            (format!("create {rest} {UNIT} --user a"), "--for"),
            (
                format!("create {rest} {UNIT} --user a --for 1h --until 2026-07-01T18:00:00Z"),
                "--until",
            ),
            (format!("create {rest} --user a --for 1h"), "--unit"),
            (format!("create {rest} {UNIT} --user a --for soon"), "--for"),
            (format!("create {rest} {UNIT} --user a --until tomorrow"), "--until"),
            (format!("create {rest} --unit ReadOnly --user a --for 1h"), "--unit"),
            (format!("create {rest} {UNIT} --user a --for 1h --label env"), "--label"),
            (format!("create {rest} {UNIT} --user a --for 1h --timeout 1m"), "--wait"),
        ];
        for (line, flag) in wrong {
            let error = parsed(&line).expect_err(&line);
            assert!(error.contains(flag), "{line}: {error}");
        }
    }

    #[test]
    fn an_extension_needs_one_end() {
        assert!(parsed("extend g-1 --for 2h").is_ok());
        assert!(parsed("extend g-1").is_err());
    }

    #[test]
    fn all_grants_end_only_when_that_is_said() {
        for line in [
            "revoke-all --everything",
            "revoke-all --integration prod",
            "revoke-all --account 222222222222 --user ann@example.com --yes",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line));
        }
        for line in [
            "revoke-all",
            "revoke-all --yes",
            "revoke-all --everything --integration prod",
            "revoke-all --everything --user ann@example.com",
            "revoke-all --account prod",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
