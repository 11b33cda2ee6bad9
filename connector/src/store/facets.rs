//! How many live resources there are of each kind, for whoever looks for some.

use std::collections::HashMap;

use sqlx::{Connection as _, PgConnection, Postgres, QueryBuilder};

use super::{
    ONE_MOMENT, Result,
    filter::{Meant, Terms},
    integrations::Integration,
};
use crate::model::{
    filter::Condition,
    ids::{ConnectorId, IntegrationId},
};

/// One value of a property, and how many resources have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// The value.
    pub value: String,
    /// Its name for people; empty: the value says it.
    pub name: String,
    /// Live resources.
    pub resources: i64,
}

impl From<(String, i64)> for Facet {
    fn from((value, resources): (String, i64)) -> Self {
        Self { value, name: String::new(), resources }
    }
}

/// Counts by each property, the most frequent first.
#[derive(Clone, Debug, Default)]
pub struct Facets {
    /// All of them.
    pub resources: i64,
    /// By type.
    pub types: Vec<Facet>,
    /// By account.
    pub accounts: Vec<Facet>,
    /// By region; empty: global.
    pub regions: Vec<Facet>,
    /// By root and organizational unit, with everything below.
    pub units: Vec<Facet>,
    /// By tag key.
    pub tag_keys: Vec<Facet>,
}

/// Resources of one type, account or region: the one of them that is there.
#[derive(sqlx::FromRow)]
struct Counted {
    r#type: Option<String>,
    account_id: Option<String>,
    region: Option<String>,
    resources: i64,
}

/// Counts what a filter means in one integration, at most `limit` values of a property.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(
    conn: &mut PgConnection,
    integration: &Integration,
    condition: &Condition,
    limit: usize,
) -> Result<Facets> {
    let meant = &Meant {
        connector: &integration.connector,
        only: Some(integration.id),
        integrations: std::slice::from_ref(integration),
        condition,
    };
    let mut tx = conn.begin_with(ONE_MOMENT).await?;
    let mut query =
        QueryBuilder::new("SELECT r.type, r.account_id, r.region, count(*) AS resources");
    push(meant, &mut query);
    query.push(" GROUP BY GROUPING SETS ((r.type), (r.account_id), (r.region))");
    let counted = query.build_query_as().persistent(false).fetch_all(&mut *tx).await?;

    let mut query =
        QueryBuilder::new("SELECT key, count(*) FROM (SELECT jsonb_object_keys(r.tags) AS key");
    push(meant, &mut query);
    query.push(") keys GROUP BY key");
    let keys: Vec<(String, i64)> =
        query.build_query_as().persistent(false).fetch_all(&mut *tx).await?;

    let mut facets =
        Facets { tag_keys: keys.into_iter().map(Facet::from).collect(), ..of(counted) };
    place(&mut tx, meant.connector, integration.id, &mut facets).await?;
    tx.commit().await?;
    for values in [
        &mut facets.types,
        &mut facets.accounts,
        &mut facets.regions,
        &mut facets.units,
        &mut facets.tag_keys,
    ] {
        values.sort_by(|a, b| b.resources.cmp(&a.resources).then_with(|| a.value.cmp(&b.value)));
        values.truncate(limit);
    }
    Ok(facets)
}

fn push(meant: &Meant<'_>, query: &mut QueryBuilder<Postgres>) {
    query.push(" FROM ");
    meant.push_place(query, None);
    query.push(" AND ");
    meant.push_condition(query, Terms::WithType);
}

fn of(counted: Vec<Counted>) -> Facets {
    let mut facets = Facets::default();
    for Counted { r#type, account_id, region, resources } in counted {
        facets.resources += r#type.as_ref().map_or(0, |_| resources);
        facets.types.extend(r#type.map(|value| Facet::from((value, resources))));
        facets.accounts.extend(account_id.map(|value| Facet::from((value, resources))));
        facets.regions.extend(region.map(|value| Facet::from((value, resources))));
    }
    facets
}

/// Names the accounts, and counts for the units what the accounts below them have.
async fn place(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    facets: &mut Facets,
) -> Result<()> {
    let accounts = sqlx::query!(
        "SELECT account_id, name, path FROM connector.accounts
         WHERE connector_id = $1 AND integration_id = $2",
        connector.as_str(),
        integration.0
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut accounts: HashMap<String, _> =
        accounts.into_iter().map(|account| (account.account_id.clone(), account)).collect();
    let mut by_unit: HashMap<String, i64> = HashMap::new();
    for facet in &mut facets.accounts {
        let Some(account) = accounts.remove(&facet.value) else { continue };
        facet.name = account.name;
        for unit in account.path {
            *by_unit.entry(unit).or_default() += facet.resources;
        }
    }
    let units = sqlx::query!(
        "SELECT ou_id, name FROM connector.organizational_units
         WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL",
        connector.as_str(),
        integration.0
    )
    .fetch_all(conn)
    .await?;
    facets.units.extend(units.into_iter().filter_map(|unit| {
        let resources = by_unit.remove(&unit.ou_id)?;
        Some(Facet { value: unit.ou_id, name: unit.name, resources })
    }));
    Ok(())
}
