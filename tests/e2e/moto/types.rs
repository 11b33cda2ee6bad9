//! One thing of every type that moto has, made through the services' own APIs.

use aws_config::SdkConfig;

/// A tag on everything that can have one.
const TAG: (&str, &str) = ("team", "red & blue");

/// What was made, as `arn name tags`.
type Lines = Vec<String>;

fn tagged(arn: &str, name: &str) -> String {
    format!("{arn} {name} {{{:?}: {:?}}}", TAG.0, TAG.1)
}

/// Everything that lives in a region.
pub(super) async fn regional(config: &SdkConfig, account: &str, region: &str) -> Lines {
    let mut lines = Lines::new();
    for number in 0..2 {
        lines.extend(stores(config, number).await);
        lines.extend(messages(config, account, region, number).await);
    }
    lines.push(function(config).await);
    lines.push(cluster(config, account).await);
    lines
}

/// Databases, tables and secrets.
async fn stores(config: &SdkConfig, number: usize) -> Lines {
    let mut lines = Lines::new();
    let rds = aws_sdk_rds::Client::new(config);
    let tag = || aws_sdk_rds::types::Tag::builder().key(TAG.0).value(TAG.1).build();
    let name = format!("orders-{number}");
    let made = rds
        .create_db_instance()
        .db_instance_identifier(&name)
        .db_instance_class("db.t4g.micro")
        .engine("postgres")
        .master_username("root")
        .master_user_password("a-password")
        .allocated_storage(20)
        .tags(tag())
        .send()
        .await
        .expect("an instance");
    lines
        .push(tagged(made.db_instance().and_then(|i| i.db_instance_arn()).expect("an ARN"), &name));
    let name = format!("ledger-{number}");
    let made = rds
        .create_db_cluster()
        .db_cluster_identifier(&name)
        .engine("aurora-postgresql")
        .master_username("root")
        .master_user_password("a-password")
        .tags(tag())
        .send()
        .await
        .expect("a cluster");
    lines.push(tagged(made.db_cluster().and_then(|c| c.db_cluster_arn()).expect("an ARN"), &name));

    let name = format!("prod/database-{number}");
    let made = aws_sdk_secretsmanager::Client::new(config)
        .create_secret()
        .name(&name)
        .secret_string("not read by anybody")
        .tags(aws_sdk_secretsmanager::types::Tag::builder().key(TAG.0).value(TAG.1).build())
        .send()
        .await
        .expect("a secret");
    lines.push(tagged(made.arn().expect("an ARN"), &name));

    lines.push(table(config, number).await);
    lines
}

async fn table(config: &SdkConfig, number: usize) -> String {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, Tag,
    };
    let name = format!("table-{number}");
    let attribute = AttributeDefinition::builder()
        .attribute_name("id")
        .attribute_type(ScalarAttributeType::S)
        .build();
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build();
    let made = aws_sdk_dynamodb::Client::new(config)
        .create_table()
        .table_name(&name)
        .attribute_definitions(attribute.expect("an attribute"))
        .key_schema(key.expect("a key"))
        .billing_mode(BillingMode::PayPerRequest)
        .tags(Tag::builder().key(TAG.0).value(TAG.1).build().expect("a tag"))
        .send()
        .await
        .expect("a table");
    let arn = made.table_description().and_then(|table| table.table_arn());
    tagged(arn.expect("an ARN"), &name)
}

/// Queues and topics.
async fn messages(config: &SdkConfig, account: &str, region: &str, number: usize) -> Lines {
    let mut lines = Lines::new();
    let name = format!("jobs-{number}");
    aws_sdk_sqs::Client::new(config)
        .create_queue()
        .queue_name(&name)
        .tags(TAG.0, TAG.1)
        .send()
        .await
        .expect("a queue");
    lines.push(tagged(&format!("arn:aws:sqs:{region}:{account}:{name}"), &name));
    let name = format!("alerts-{number}");
    let tag = aws_sdk_sns::types::Tag::builder().key(TAG.0).value(TAG.1).build();
    let made = aws_sdk_sns::Client::new(config)
        .create_topic()
        .name(&name)
        .tags(tag.expect("a tag"))
        .send()
        .await
        .expect("a topic");
    lines.push(tagged(made.topic_arn().expect("an ARN"), &name));
    lines
}

async fn function(config: &SdkConfig) -> String {
    use aws_sdk_lambda::{
        primitives::Blob,
        types::{FunctionCode, Runtime},
    };
    let made = aws_sdk_lambda::Client::new(config)
        .create_function()
        .function_name("resize")
        .runtime(Runtime::from("python3.13"))
        // moto asks IAM for it.
        .role(role(config).await)
        .handler("main.handler")
        .code(FunctionCode::builder().zip_file(Blob::new(EMPTY_ZIP)).build())
        .tags(TAG.0, TAG.1)
        .send()
        .await
        .expect("a function");
    tagged(made.function_arn().expect("an ARN"), "resize")
}

/// An archive of nothing.
const EMPTY_ZIP: [u8; 22] = *b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

async fn role(config: &SdkConfig) -> String {
    let iam = aws_sdk_iam::Client::new(config);
    let role = iam.get_role().role_name("resize").send().await.expect("a role");
    role.role().map(|role| role.arn().to_owned()).expect("a role")
}

async fn cluster(config: &SdkConfig, account: &str) -> String {
    let made = aws_sdk_eks::Client::new(config)
        .create_cluster()
        .name("platform")
        .role_arn(format!("arn:aws:iam::{account}:role/resize"))
        .resources_vpc_config(
            aws_sdk_eks::types::VpcConfigRequest::builder()
                .subnet_ids("subnet-11111111")
                .subnet_ids("subnet-22222222")
                .build(),
        )
        .tags(TAG.0, TAG.1)
        .send()
        .await
        .expect("a cluster");
    tagged(made.cluster().and_then(|cluster| cluster.arn()).expect("an ARN"), "platform")
}

/// What IAM has, once for an account.
pub(super) async fn global(config: &SdkConfig, account: &str) -> Lines {
    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;
    let iam = aws_sdk_iam::Client::new(config);
    let tag = || aws_sdk_iam::types::Tag::builder().key(TAG.0).value(TAG.1).build().expect("a tag");
    let mut lines = Lines::new();
    let arn = |kind: &str, name: &str| format!("arn:aws:iam::{account}:{kind}/{name}");
    iam.create_role()
        .role_name("resize")
        .assume_role_policy_document(TRUST)
        .tags(tag())
        .send()
        .await
        .expect("a role");
    lines.push(tagged(&arn("role", "resize"), "resize"));
    iam.create_user().user_name("ci").tags(tag()).send().await.expect("a user");
    lines.push(tagged(&arn("user", "ci"), "ci"));
    iam.create_policy()
        .policy_name("read-orders")
        .policy_document(POLICY)
        .tags(tag())
        .send()
        .await
        .expect("a policy");
    lines.push(tagged(&arn("policy", "read-orders"), "read-orders"));
    iam.create_group().group_name("developers").send().await.expect("a group");
    lines.push(format!("{} developers {{}}", arn("group", "developers")));
    lines
}

/// What Identity Center has, in the management account.
pub(super) async fn enrolled(config: &SdkConfig) -> Lines {
    let mut lines = Lines::new();
    let sso = aws_sdk_ssoadmin::Client::new(config);
    let instances = sso.list_instances().send().await.expect("instances");
    let instance = &instances.instances()[0];
    let arn = instance.instance_arn().expect("an ARN");
    let store = instance.identity_store_id().expect("an id");
    for name in ["ReadOnly", "Operator"] {
        let create = sso.create_permission_set().instance_arn(arn).name(name);
        // Its default is a number, which no SDK can read.
        let made = create.session_duration("PT1H").send().await.expect("a set");
        let set = made.permission_set().and_then(|set| set.permission_set_arn()).expect("an ARN");
        sso.attach_managed_policy_to_permission_set()
            .instance_arn(arn)
            .permission_set_arn(set)
            .managed_policy_arn("arn:aws:iam::aws:policy/ReadOnlyAccess")
            .send()
            .await
            .expect("a policy");
        // moto has no tags of sets.
        lines.push(format!("{set} {name} {{}}"));
    }
    let directory = aws_sdk_identitystore::Client::new(config);
    let person = aws_sdk_identitystore::types::Name::builder().given_name("Ann").family_name("Lee");
    let user = directory
        .create_user()
        .identity_store_id(store)
        .user_name("ann")
        .display_name("Ann Lee")
        .name(person.build())
        .send()
        .await
        .expect("a user");
    lines.push(format!("arn:aws:identitystore:::user/{} ann {{}}", user.user_id()));
    let group = directory.create_group().identity_store_id(store).display_name("developers");
    let group = group.send().await.expect("a group");
    lines.push(format!("arn:aws:identitystore:::group/{} developers {{}}", group.group_id()));
    directory
        .create_group_membership()
        .identity_store_id(store)
        .group_id(group.group_id())
        .member_id(aws_sdk_identitystore::types::MemberId::UserId(user.user_id().to_owned()))
        .send()
        .await
        .expect("a membership");
    lines
}
