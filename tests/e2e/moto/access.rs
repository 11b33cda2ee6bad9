//! Account assignments and memberships in groups against moto: granted, seen by a boto3 client,
//! revoked and gone; what was there before stays. moto has no lists of requests under way, so the gate
//! answers them with empty ones.

use std::path::Path;

use apono_connector_proto::v1::{
    AccessUnit, GrantRequest, GrantState, IntegrationSettings, Recipient, recipient::Who,
};
use aws_sdk_ssoadmin::types::{PrincipalType, TargetType};
use aws_sim::{Sim, World};

use super::{MANAGEMENT, Moto, patient, types};
use crate::{
    access::{a_request, fast, membership::with_groups},
    harness::{Api, Cloud, Daemon, Database, settings_for, short_directory},
};

/// Lists the assignments of a permission set in an account: `TYPE id`.
const LIST: &str = "
import boto3, sys
url, instance, account, permission_set = sys.argv[1:]
sso = boto3.client('sso-admin', endpoint_url=url, region_name='eu-west-1',
                   aws_access_key_id='AKIASEED', aws_secret_access_key='secret')
found = sso.list_account_assignments(InstanceArn=instance, AccountId=account, PermissionSetArn=permission_set)
for one in found['AccountAssignments']:
    print(one['PrincipalType'], one['PrincipalId'])
";

/// Lists who is in a group: ids.
const LIST_MEMBERS: &str = "
import boto3, sys
url, store, group = sys.argv[1:]
identities = boto3.client('identitystore', endpoint_url=url, region_name='eu-west-1',
                          aws_access_key_id='AKIASEED', aws_secret_access_key='secret')
for one in identities.list_group_memberships(IdentityStoreId=store, GroupId=group)['GroupMemberships']:
    print(one['MemberId']['UserId'])
";

/// An organization of moto with one account, a person, a group and two permission sets.
pub(super) struct Scene {
    pub(super) moto: Moto,
    pub(super) account: String,
    pub(super) instance: String,
    /// ARNs of `ReadOnly` and `Operator`.
    sets: [String; 2],
    person: String,
    /// The person is in it.
    group: String,
    pub(super) identity_store: String,
}

impl Scene {
    pub(super) async fn seed() -> (Self, String, String) {
        let moto = Moto::start().await;
        let config = moto.config(MANAGEMENT, "us-east-1").await;
        let organizations = aws_sdk_organizations::Client::new(&config);
        let created = organizations.create_organization().send().await.expect("an organization");
        let organization = created.organization().and_then(|o| o.id()).expect("an id").to_owned();
        let roots = organizations.list_roots().send().await.expect("roots");
        let root = roots.roots()[0].id().expect("an id").to_owned();
        let create = organizations.create_account().account_name("payments");
        let created = create.email("payments@example.com").send().await.expect("an account");
        let status = created.create_account_status().expect("a status");
        let account = status.account_id().expect("an id").to_owned();

        let config = moto.config(MANAGEMENT, "eu-west-1").await;
        let lines = types::enrolled(&config).await;
        let sso = aws_sdk_ssoadmin::Client::new(&config);
        let instances = sso.list_instances().send().await.expect("instances");
        let instance = instances.instances()[0].instance_arn().expect("an ARN").to_owned();
        let identity_store = instances.instances()[0].identity_store_id().expect("an id");
        let identity_store = identity_store.to_owned();
        let arn = |name: &str| {
            let line = lines.iter().find(|line| line.contains(&format!(" {name} "))).expect("one");
            line.split(' ').next().expect("an ARN").to_owned()
        };
        let id = |name: &str| arn(name).rsplit('/').next().expect("an id").to_owned();
        let scene = Self {
            account,
            instance,
            sets: [arn("ReadOnly"), arn("Operator")],
            person: id("ann"),
            group: id("developers"),
            identity_store,
            moto,
        };
        // Somebody else's.
        sso.create_account_assignment()
            .instance_arn(&scene.instance)
            .target_type(TargetType::AwsAccount)
            .target_id(&scene.account)
            .permission_set_arn(&scene.sets[1])
            .principal_type(PrincipalType::User)
            .principal_id(&scene.person)
            .send()
            .await
            .expect("an assignment");
        (scene, organization, root)
    }

    /// Somebody else makes a group in which nobody is. Its id.
    async fn group(&self, name: &str) -> String {
        let config = self.moto.config(MANAGEMENT, "eu-west-1").await;
        let identities = aws_sdk_identitystore::Client::new(&config);
        let made = identities.create_group().identity_store_id(&self.identity_store);
        made.display_name(name).send().await.expect("a group").group_id
    }

    /// What boto3 sees of a set in the account.
    fn seen(&self, set: &str) -> Vec<String> {
        self.python(LIST, &[&self.instance, &self.account, set])
    }

    /// Whom boto3 sees in a group.
    fn members(&self, group: &str) -> Vec<String> {
        self.python(LIST_MEMBERS, &[&self.identity_store, group])
    }

    pub(super) fn python(&self, program: &str, arguments: &[&str]) -> Vec<String> {
        let server = std::env::var("TEST_MOTO_SERVER").expect("moto's server");
        let python = Path::new(&server).with_file_name("python");
        let url = format!("http://{}", self.moto.address);
        let run = std::process::Command::new(python)
            .args(["-c", program, &url])
            .args(arguments)
            .output()
            .expect("python");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8_lossy(&run.stdout).lines().map(str::to_owned).collect()
    }
}

pub(super) async fn grant(api: &Api, id: &str, unit: AccessUnit, who: Who) {
    let request = GrantRequest {
        recipient: Some(Recipient { who: Some(who) }),
        units: vec![unit],
        ..a_request(id)
    };
    api.grant(request).await;
    api.wait_for_grant(id, GrantState::Active).await;
}

/// The daemon before moto, with all that it needs.
pub(super) struct Served {
    pub(super) api: Api,
    _daemon: Daemon,
    _database: Database,
}

impl Served {
    async fn start(scene: &Scene, organization: &str, root: String) -> Self {
        Self::start_with(scene, organization, root, &[], |_| {}).await
    }

    /// The same with further types, and with what the gate knows of moto.
    pub(super) async fn start_with(
        scene: &Scene,
        organization: &str,
        root: String,
        types: &[&str],
        tell: impl FnOnce(&mut World),
    ) -> Self {
        let sim = Sim::start_before(scene.moto.address).await.expect("a gate");
        let mut cloud = Cloud::in_front_of(sim, "aws");
        organization.clone_into(&mut cloud.organization);
        MANAGEMENT.clone_into(&mut cloud.management);
        cloud.root = cloud.sim.world().add_organization(organization, "aws", MANAGEMENT);
        cloud.account(&scene.account, &cloud.root, "payments");
        cloud.deploy_all();
        tell(&mut cloud.sim.world());
        let database = Database::create().await;
        let directory = short_directory();
        let rules = directory.path().join("rules.cedar");
        let all = "@id(\"all\")\npermit (principal, action, resource);\n";
        std::fs::write(&rules, all).expect("a file");
        let options = patient(fast(&database))
            .set("APONO__ACCESS__GUARDRAILS_FILE", &rules.to_string_lossy());
        let daemon = Daemon::start_with(&cloud, options);
        let api = daemon.api().await;
        let mut settings = IntegrationSettings {
            root_or_ou_id: root,
            sso_region: "eu-west-1".to_owned(),
            ..with_groups(settings_for(&cloud))
        };
        settings.resource_types.extend(types.iter().map(|one| (*one).to_owned()));
        settings.resource_types.sort_unstable();
        api.create_and_sync(settings).await;
        Self { api, _daemon: daemon, _database: database }
    }
}

#[tokio::test]
async fn users_and_groups_are_assigned_and_what_was_there_before_stays() {
    let (scene, organization, root) = Box::pin(Scene::seed()).await;
    let served = Served::start(&scene, &organization, root).await;
    let api = &served.api;
    let in_account = |set: &str| AccessUnit {
        account_id: scene.account.clone(),
        permission_set: set.to_owned(),
        ..Default::default()
    };

    let [read_only, operator] = &scene.sets;
    grant(api, "person", in_account("ReadOnly"), Who::UserName("ann".to_owned())).await;
    grant(api, "group", in_account(read_only), Who::GroupName("developers".to_owned())).await;
    grant(api, "before", in_account("Operator"), Who::UserId(scene.person.clone())).await;
    let mut seen = scene.seen(read_only);
    seen.sort();
    assert_eq!(seen, [format!("GROUP {}", scene.group), format!("USER {}", scene.person)]);
    assert!(api.get_grant("before").await.units[0].was_there_before);
    for id in ["person", "group", "before"] {
        api.revoke(id).await;
        api.wait_for_grant(id, GrantState::Ended).await;
    }
    assert_eq!(scene.seen(read_only), [""; 0]);
    assert_eq!(scene.seen(operator), [format!("USER {}", scene.person)]);
}

#[tokio::test]
async fn users_join_groups_and_who_was_in_one_before_stays() {
    let (scene, organization, root) = Box::pin(Scene::seed()).await;
    let auditors = scene.group("auditors").await;
    let served = Served::start(&scene, &organization, root).await;
    let api = &served.api;
    let member_of = |group: &str| AccessUnit {
        resource: format!("arn:aws:identitystore:::group/{group}"),
        permission: "MEMBER".to_owned(),
        ..Default::default()
    };
    grant(api, "joins", member_of(&auditors), Who::UserName("ann".to_owned())).await;
    grant(api, "before", member_of(&scene.group), Who::UserId(scene.person.clone())).await;
    assert_eq!(scene.members(&auditors), std::slice::from_ref(&scene.person));
    assert!(api.get_grant("before").await.units[0].was_there_before);
    for id in ["joins", "before"] {
        api.revoke(id).await;
        api.wait_for_grant(id, GrantState::Ended).await;
    }
    assert_eq!(scene.members(&auditors), [""; 0]);
    assert_eq!(scene.members(&scene.group), std::slice::from_ref(&scene.person));
}
