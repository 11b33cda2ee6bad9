//! For operators.

use apono_connector_proto::v1::{
    self, CreateTokenRequest, CreateTokenResponse, GetIdentityRequest, GetIdentityResponse,
    GetVersionRequest, GetVersionResponse, ListProblemsRequest, ListProblemsResponse,
    ListTasksRequest, ListTasksResponse, ListTokensRequest, ListTokensResponse, MuteProblemRequest,
    MuteProblemResponse, RevokeTokenRequest, RevokeTokenResponse, UnmuteProblemRequest,
    UnmuteProblemResponse, operations_service_server::OperationsService,
};
use chrono::{DateTime, Utc};
use tonic::{Request, Response, Status};
use tracing::info;
use uuid::Uuid;

use super::{
    Api,
    auth::{self, caller},
    integrations::find,
    status, words,
};
use crate::{
    base::chance,
    model::{
        failure::ReasonCode,
        ids::{ConnectorId, TokenId},
        problem::{Explanation, Severity, explain},
    },
    store::{self, tokens::Token},
};

/// Length of a token's name.
const NAME_CHARACTERS_MAX: usize = 64;
/// Length of the reason of a mute.
const MUTE_REASON_CHARACTERS_MAX: usize = 400;

#[tonic::async_trait]
impl OperationsService for Api {
    async fn get_identity(
        &self,
        request: Request<GetIdentityRequest>,
    ) -> Result<Response<GetIdentityResponse>, Status> {
        let caller = caller(&request)?;
        let identity = self.identity.load();
        let identity = identity.as_deref();
        Ok(Response::new(GetIdentityResponse {
            connector_ids: caller.connectors.into_iter().map(String::from).collect(),
            role: words::role_word(caller.role).into(),
            aws_arn: identity.map(|identity| identity.arn.clone()).unwrap_or_default(),
            connector_role_arn: identity
                .and_then(super::super::aws::identity::Identity::role_arn)
                .unwrap_or_default(),
        }))
    }

    async fn get_version(
        &self,
        _request: Request<GetVersionRequest>,
    ) -> Result<Response<GetVersionResponse>, Status> {
        let mut conn = self.conn().await?;
        let read = async {
            let schema = store::schema::version(&mut conn).await?;
            Ok::<_, store::Error>((schema, store::schema::server_version(&mut conn).await?))
        };
        let (schema_version, postgresql_version) =
            read.await.map_err(|error| status::store(&error))?;
        Ok(Response::new(GetVersionResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version,
            postgresql_version,
        }))
    }

    async fn list_tasks(
        &self,
        _request: Request<ListTasksRequest>,
    ) -> Result<Response<ListTasksResponse>, Status> {
        let tasks = self
            .board
            .all()
            .into_iter()
            .map(|(name, status)| v1::Task {
                name: name.to_owned(),
                description: status.description.to_owned(),
                activations: i64::try_from(status.activations).unwrap_or(i64::MAX),
                last_end_time: status.last_end.map(words::timestamp),
                status: status.words,
            })
            .collect();
        Ok(Response::new(ListTasksResponse { tasks, replica_id: self.replica.to_string() }))
    }

    async fn list_problems(
        &self,
        request: Request<ListProblemsRequest>,
    ) -> Result<Response<ListProblemsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let integration = match request.integration.as_str() {
            "" => None,
            name => Some(find(&mut conn, &connector, name).await?.id),
        };
        let found =
            store::problems::list(&mut conn, &connector, integration, request.include_resolved)
                .await
                .map_err(|error| status::store(&error))?;
        let problems = found.into_iter().map(problem).collect();
        Ok(Response::new(ListProblemsResponse { problems }))
    }

    async fn mute_problem(
        &self,
        request: Request<MuteProblemRequest>,
    ) -> Result<Response<MuteProblemResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let characters = request.reason.chars().count();
        let is_good = (1..=MUTE_REASON_CHARACTERS_MAX).contains(&characters)
            && !request.reason.chars().any(char::is_control);
        if !is_good {
            return Err(status::bad_request(
                "reason",
                format!(
                    "has {characters} characters; say why in 1 to {MUTE_REASON_CHARACTERS_MAX}, without control characters"
                ),
            ));
        }
        let Some(until) = request.expire_time else {
            return Err(status::bad_request("expire_time", "is required; a mute has an end"));
        };
        let until = words::time(until, "expire_time")?;
        let mute = Some((until, request.reason.as_str()));
        let name = (request.code.as_str(), request.subject.as_str());
        let problem = self.mute(&connector, &request.integration, name, mute).await?;
        info!("{} was muted until {until}: {}", problem.code, request.reason);
        Ok(Response::new(MuteProblemResponse { problem: Some(problem) }))
    }

    async fn unmute_problem(
        &self,
        request: Request<UnmuteProblemRequest>,
    ) -> Result<Response<UnmuteProblemResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let name = (request.code.as_str(), request.subject.as_str());
        let problem = self.mute(&connector, &request.integration, name, None).await?;
        Ok(Response::new(UnmuteProblemResponse { problem: Some(problem) }))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let role = words::role(request.role()).ok_or_else(|| {
            status::bad_request("role", "is required; choose viewer, operator, granter or admin")
        })?;
        check_name(&request.name)?;
        let expires_at =
            request.expire_time.map(|time| words::time(time, "expire_time")).transpose()?;
        let (id, secret) = (TokenId(chance::uuid()), chance::secret::<{ auth::SECRET_BYTES }>());
        let stored = async {
            let mut tx = self.db.begin().await?;
            let now = store::now(&mut tx).await?;
            if expires_at.is_some_and(|end| end <= now) {
                return Ok(Err(status::bad_request(
                    "expire_time",
                    "is in the past; choose a later time",
                )));
            }
            let hash = auth::hash(&secret);
            let token = store::tokens::insert(
                &mut tx,
                &connector,
                id,
                &request.name,
                role,
                &hash,
                expires_at,
            )
            .await?;
            tx.commit().await?;
            Ok::<_, store::Error>(token.ok_or_else(|| two_live(&request.name)))
        };
        let token = stored.await.map_err(|error| status::store(&error))??;
        info!(token.id = %id, "token {} with the role {role} was made", token.name);
        Ok(Response::new(CreateTokenResponse {
            token: Some(shown(token)),
            secret: auth::token_text(id, &secret),
        }))
    }

    async fn list_tokens(
        &self,
        request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        let caller = caller(&request)?;
        let connector = caller.connector(&request.into_inner().connector_id)?;
        let mut conn = self.conn().await?;
        let tokens = store::tokens::list(&mut conn, &connector)
            .await
            .map_err(|error| status::store(&error))?;
        let tokens = tokens.into_iter().map(shown).collect();
        Ok(Response::new(ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let id = Uuid::try_parse(&request.token_id).map(TokenId).map_err(|_| {
            status::bad_request(
                "token_id",
                format!("{:?} is not a UUID; use the id that ListTokens told", request.token_id),
            )
        })?;
        let mut conn = self.conn().await?;
        let was_there = store::tokens::delete(&mut conn, &connector, id)
            .await
            .map_err(|error| status::store(&error))?;
        if !was_there {
            return Err(status::not_found("token", &request.token_id));
        }
        info!(token.id = %id, "token {id} was revoked");
        Ok(Response::new(RevokeTokenResponse {}))
    }
}

impl Api {
    async fn mute(
        &self,
        connector: &ConnectorId,
        integration: &str,
        (code, subject): (&str, &str),
        mute: Option<(DateTime<Utc>, &str)>,
    ) -> Result<v1::Problem, Status> {
        status::refuse_nul("code", code)?;
        status::refuse_nul("subject", subject)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, connector, integration).await?;
        let muted = async {
            let now = store::now(&mut conn).await?;
            if mute.is_some_and(|(until, _)| until <= now) {
                return Ok(Err(status::bad_request("expire_time", "is over; choose a later one")));
            }
            let open =
                store::problems::list(&mut conn, connector, Some(integration.id), false).await?;
            let subject = match one_of(&open, code, subject) {
                Ok(subject) => subject,
                Err(status) => return Ok(Err(status)),
            };
            let name = (code, subject);
            let found =
                store::problems::mute(&mut conn, connector, integration.id, name, mute).await?;
            Ok::<_, store::Error>(found.ok_or_else(|| no_problem(code, subject)))
        };
        let found = muted.await.map_err(|error| status::store(&error))??;
        Ok(problem(found))
    }
}

/// The subject of the problem that is meant: the named one, or the only one of its code.
fn one_of<'a>(
    open: &'a [store::problems::Problem],
    code: &str,
    subject: &'a str,
) -> Result<&'a str, Status> {
    let subjects: Vec<&str> =
        open.iter().filter(|one| one.code == code).map(|one| one.subject.as_str()).collect();
    match subjects.as_slice() {
        [only] if subject.is_empty() => Ok(only),
        [] => Err(no_problem(code, subject)),
        several if several.contains(&subject) => Ok(subject),
        _ if !subject.is_empty() => Err(no_problem(code, subject)),
        several => {
            Err(status::bad_request("subject", format!("must be one of {}", several.join(", "))))
        }
    }
}

fn no_problem(code: &str, subject: &str) -> Status {
    status::not_found("open problem", [code, subject].join(" ").trim_end())
}

fn problem(found: store::problems::Problem) -> v1::Problem {
    let explained = found.code.parse::<ReasonCode>().map_or_else(
        |_| Explanation {
            severity: Severity::Warning,
            cause: "A newer version of the connector found this.".to_owned(),
            remedy: "Ask a replica of that version.".to_owned(),
        },
        |code| explain(code, &found.subject),
    );
    v1::Problem {
        code: found.code,
        integration_id: found.integration_id.to_string(),
        subject: found.subject,
        cause: explained.cause,
        remedy: explained.remedy,
        count: found.count,
        examples: found.examples,
        first_seen_time: Some(words::timestamp(found.first_seen_at)),
        last_seen_time: Some(words::timestamp(found.last_seen_at)),
        severity: words::severity(explained.severity).into(),
        resolve_time: found.resolved_at.map(words::timestamp),
        mute_expire_time: found.muted_until.map(words::timestamp),
        mute_reason: found.mute_reason.unwrap_or_default(),
    }
}

fn check_name(name: &str) -> Result<(), Status> {
    let characters = name.chars().count();
    if (1..=NAME_CHARACTERS_MAX).contains(&characters) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(status::bad_request(
        "name",
        format!(
            "has {characters} characters; say what the token is for in 1 to {NAME_CHARACTERS_MAX}, without control characters"
        ),
    ))
}

fn two_live(name: &str) -> Status {
    status::already_exists(
        "TOKEN_NAME_TAKEN",
        format!("there are two live tokens named {name:?} already; revoke one first"),
    )
}

fn shown(token: Token) -> v1::Token {
    v1::Token {
        id: token.id.to_string(),
        connector_id: token.connector.into(),
        name: token.name,
        role: words::role_word(token.role).into(),
        create_time: Some(words::timestamp(token.created_at)),
        expire_time: token.expires_at.map(words::timestamp),
        last_use_time: token.last_used_at.map(words::timestamp),
    }
}
