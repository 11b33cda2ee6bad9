//! The walk of the organization: units with their names, accounts with their places.
//!
//! `ListAccounts` tells where each account is (`Paths`); where it does not, the
//! accounts are listed unit by unit. Units are always walked, for their names. The
//! whole walk is one loop over one queue of lists, so one proof covers it: a list that
//! fails, or a token that comes back, leaves no walk at all, and nobody is taken as
//! gone.

use std::collections::{HashMap, VecDeque};

use aws_sdk_organizations::types;

use crate::{
    aws::{Access, ApiError},
    model::{
        failure::{Failure, Reason, ReasonCode},
        ids::{AccountId, OrganizationId, OuId},
        organization::{Account, AccountState, Unit, Walk, WholeOrganization, parse_path},
        proof::{KeyDigest, Next, PageLoop, PageToken},
    },
};

const DESCRIBE_ORGANIZATION: &str = "organizations:DescribeOrganization";
const LIST_ACCOUNTS: &str = "organizations:ListAccounts";
const LIST_ACCOUNTS_FOR_PARENT: &str = "organizations:ListAccountsForParent";
const LIST_ROOTS: &str = "organizations:ListRoots";
const LIST_UNITS: &str = "organizations:ListOrganizationalUnitsForParent";

/// Every IAM action that this file calls.
pub const IAM_ACTIONS: &[&str] =
    &[DESCRIBE_ORGANIZATION, LIST_ACCOUNTS, LIST_ACCOUNTS_FOR_PARENT, LIST_ROOTS, LIST_UNITS];

/// The organization that a management role belongs to, and its management account.
///
/// # Errors
///
/// When it cannot be read.
pub async fn identify(access: &Access) -> Result<(OrganizationId, AccountId), ApiError> {
    let answer = access
        .organizations()
        .describe_organization()
        .send()
        .await
        .map_err(|error| ApiError::of(DESCRIBE_ORGANIZATION, &error))?;
    let organization = answer.organization();
    let id = organization.and_then(|o| o.id()).unwrap_or_default();
    let account = organization.and_then(|o| o.master_account_id()).unwrap_or_default();
    match (id.parse(), account.parse()) {
        (Ok(id), Ok(account)) => Ok((id, account)),
        _ => Err(unreadable(DESCRIBE_ORGANIZATION, &format!("{id} {account}"))),
    }
}

/// A list that is still to be read, from its first page or from a token.
#[derive(Clone, Debug)]
enum List {
    Roots,
    Units { parent: OuId },
    Accounts,
    AccountsOf { parent: OuId },
}

/// What the lists have told so far.
#[derive(Default)]
struct Gathered {
    units: Vec<Unit>,
    accounts: HashMap<AccountId, Account>,
    /// Path of each unit, itself included.
    paths: HashMap<OuId, Vec<OuId>>,
    paths_missing: bool,
}

/// Walks the whole organization.
///
/// # Errors
///
/// When any list cannot be read to its end.
pub async fn walk(access: &Access) -> Result<Walk, ApiError> {
    let mut gathered = Gathered::default();
    let mut queue = VecDeque::from([(List::Roots, None), (List::Accounts, None)]);
    let mut lists_read = 0_u64;
    let mut pages = PageLoop::start(WholeOrganization);
    loop {
        let Some((list, token)) = queue.pop_front() else {
            unreachable!("the loop ends with the page that empties the queue")
        };
        let (keys, next, more) = read(access, &list, token.as_deref(), &mut gathered).await?;
        if let Some(token) = next {
            queue.push_front((list, Some(token)));
        } else {
            lists_read += 1;
        }
        queue.extend(more.into_iter().map(|list| (list, None)));
        if queue.is_empty() && gathered.paths_missing {
            gathered.paths_missing = false;
            let parents = gathered.units.iter().map(|unit| unit.id.clone());
            queue.extend(parents.map(|parent| (List::AccountsOf { parent }, None)));
        }
        // Tokens of different lists may be equal; the list's number keeps them apart.
        let following = queue.front().map(|(_, token)| {
            PageToken(format!("{lists_read} {}", token.as_deref().unwrap_or_default()))
        });
        match pages.page(keys.iter().map(|key| KeyDigest::of(key)), following) {
            Ok(Next::More(rest, _)) => pages = rest,
            Ok(Next::End(proof)) => {
                let accounts = gathered.accounts.into_values().collect();
                return Ok(Walk::new(&proof, gathered.units, accounts));
            }
            Err(endless) => return Err(unreadable(LIST_ACCOUNTS, &endless.to_string())),
        }
    }
}

/// The keys of a page, the token of the next one, and the lists that follow from it.
type Read = (Vec<String>, Option<String>, Vec<List>);

async fn read(
    access: &Access,
    list: &List,
    token: Option<&str>,
    gathered: &mut Gathered,
) -> Result<Read, ApiError> {
    let organizations = access.organizations();
    let token = token.map(str::to_owned);
    match list {
        List::Roots => {
            let answer = organizations
                .list_roots()
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| ApiError::of(LIST_ROOTS, &error))?;
            let found = answer.roots().iter().map(|root| (root.id(), root.name()));
            let (keys, more) = gathered.add_units(None, found)?;
            Ok((keys, some_token(answer.next_token()), more))
        }
        List::Units { parent } => {
            let answer = organizations
                .list_organizational_units_for_parent()
                .parent_id(parent.as_str())
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| ApiError::of(LIST_UNITS, &error))?;
            let found = answer.organizational_units().iter().map(|unit| (unit.id(), unit.name()));
            let (keys, more) = gathered.add_units(Some(parent), found)?;
            Ok((keys, some_token(answer.next_token()), more))
        }
        List::Accounts => {
            let answer = organizations
                .list_accounts()
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| ApiError::of(LIST_ACCOUNTS, &error))?;
            let keys = gathered.add_accounts(answer.accounts())?;
            Ok((keys, some_token(answer.next_token()), Vec::new()))
        }
        List::AccountsOf { parent } => {
            let answer = organizations
                .list_accounts_for_parent()
                .parent_id(parent.as_str())
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| ApiError::of(LIST_ACCOUNTS_FOR_PARENT, &error))?;
            let keys = gathered.place_accounts(parent, answer.accounts())?;
            Ok((keys, some_token(answer.next_token()), Vec::new()))
        }
    }
}

impl Gathered {
    fn add_units<'a>(
        &mut self,
        parent: Option<&OuId>,
        found: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>,
    ) -> Result<(Vec<String>, Vec<List>), ApiError> {
        let (mut keys, mut more) = (Vec::new(), Vec::new());
        for (id, name) in found {
            let id: OuId = parsed(LIST_UNITS, id)?;
            let mut path =
                parent.and_then(|parent| self.paths.get(parent)).cloned().unwrap_or_default();
            path.push(id.clone());
            keys.push(id.to_string());
            if self.paths.insert(id.clone(), path).is_some() {
                // It moved while we walked, and was met at both places.
                continue;
            }
            more.push(List::Units { parent: id.clone() });
            let name = name.unwrap_or_default().to_owned();
            self.units.push(Unit { id, name, parent: parent.cloned() });
        }
        Ok((keys, more))
    }

    fn add_accounts(&mut self, found: &[types::Account]) -> Result<Vec<String>, ApiError> {
        let mut keys = Vec::with_capacity(found.len());
        for account in found {
            let account = read_account(account)?;
            self.paths_missing |= account.paths.is_empty();
            keys.push(account.id.to_string());
            self.accounts.insert(account.id.clone(), account);
        }
        Ok(keys)
    }

    /// An account that moved between the two lists is placed where it was met last.
    fn place_accounts(
        &mut self,
        parent: &OuId,
        found: &[types::Account],
    ) -> Result<Vec<String>, ApiError> {
        let mut keys = Vec::with_capacity(found.len());
        for account in found {
            let account = read_account(account)?;
            let path = self.paths.get(parent).cloned().unwrap_or_default();
            keys.push(account.id.to_string());
            self.accounts.entry(account.id.clone()).or_insert(account).paths = vec![path];
        }
        Ok(keys)
    }
}

fn read_account(account: &types::Account) -> Result<Account, ApiError> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Ok(Account {
        id: parsed(LIST_ACCOUNTS, account.id())?,
        arn: text(account.arn()),
        name: text(account.name()),
        email: text(account.email()),
        state: AccountState::from(account.state().map_or("", |state| state.as_str())),
        paths: account.paths().iter().map(|path| parse_path(path)).collect(),
    })
}

fn parsed<T: std::str::FromStr>(action: &'static str, text: Option<&str>) -> Result<T, ApiError> {
    let text = text.unwrap_or_default();
    text.parse().map_err(|_| unreadable(action, text))
}

fn some_token(token: Option<&str>) -> Option<String> {
    PageToken::of(token).map(|token| token.0)
}

fn unreadable(action: &'static str, found: &str) -> ApiError {
    ApiError {
        reason: Reason::new(ReasonCode::UnreadableAnswer, action, found),
        failure: Failure::Permanent,
        code: None,
        leaves_doubt: false,
    }
}
