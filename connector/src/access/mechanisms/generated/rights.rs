//! What generated access takes in AWS: in both ways of it, and in each.

use super::{
    super::{On, Right, To, When, assignment},
    LIST_ROLES, document, inline, permission_set, policy, sessions, set,
};
use crate::aws::simulation::SIMULATE;

const SETS: &str = "arn:${AWS::Partition}:sso:::permissionSet/*/*";
const ANY_ACCOUNT: &str = "arn:${AWS::Partition}:sso:::account/any";
const INSTANCES: &str = "arn:${AWS::Partition}:sso:::instance/*";
const POLICIES: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/apono/*";
const DOCUMENTS: &str = "arn:${AWS::Partition}:ssm:*:${AWS::AccountId}:document/apono-session-*";
const THE_PREFERENCES: &str =
    "arn:${AWS::Partition}:ssm:*:${AWS::AccountId}:document/SSM-SessionManagerRunShell";
const SESSIONS: &str = "arn:${AWS::Partition}:ssm:*:${AWS::AccountId}:session/*";
const BY_CONNECTOR: &[When] = &[When::by_connector("aws:RequestTag/apono:connector")];
const OF_CONNECTOR: &[When] = &[When::by_connector("aws:ResourceTag/apono:connector")];

const LOOK_AT_ASSIGNMENTS: Right = Right {
    name: "LookAtAssignments",
    actions: assignment::LOOKING,
    on: On::Everything,
    when: &[],
    to: To::Look,
};
const CREATE: Right = Right {
    name: "Create",
    actions: &[set::CREATE],
    on: On::Only(&[INSTANCES, SETS]),
    when: BY_CONNECTOR,
    to: To::Change,
};

/// In the management account, where policies of member accounts are written.
pub(super) const BY_POLICY: &[Right] = &[
    Right {
        name: "Look",
        actions: &[
            set::DESCRIBE,
            set::GET_BOUNDARY,
            set::LIST,
            permission_set::LIST_POLICIES,
            set::LIST_TAGS,
        ],
        on: On::Everything,
        when: &[],
        to: To::Look,
    },
    LOOK_AT_ASSIGNMENTS,
    CREATE,
    Right {
        name: "InInstance",
        actions: &[permission_set::ATTACH, set::DELETE, set::PUT_BOUNDARY],
        on: On::Only(&[INSTANCES]),
        when: &[],
        to: To::Change,
    },
    Right {
        name: "Change",
        actions: &[
            permission_set::ATTACH,
            set::DELETE,
            set::PUT_BOUNDARY,
            assignment::CREATE,
            assignment::DELETE,
        ],
        on: On::Only(&[SETS]),
        when: OF_CONNECTOR,
        to: To::Change,
    },
    // Not of other permission sets, and not in the management account.
    Right {
        name: "Assign",
        actions: &[assignment::CREATE, assignment::DELETE],
        on: On::AllBut(&[assignment::MANAGEMENT_ACCOUNT, SETS], ANY_ACCOUNT),
        when: &[],
        to: To::Change,
    },
];

/// In the management account, where none is written.
pub(super) const INLINE: &[Right] = &[
    Right {
        name: "Look",
        actions: &[
            set::DESCRIBE,
            inline::DESCRIBE_PROVISIONING,
            set::GET_BOUNDARY,
            inline::GET_INLINE,
            set::LIST,
            inline::LIST_ACCOUNTS,
            set::LIST_TAGS,
        ],
        on: On::Everything,
        when: &[],
        to: To::Look,
    },
    LOOK_AT_ASSIGNMENTS,
    CREATE,
    Right {
        name: "InInstance",
        actions: &[set::DELETE, set::PUT_BOUNDARY, inline::PROVISION, inline::PUT_INLINE],
        on: On::Only(&[INSTANCES]),
        when: &[],
        to: To::Change,
    },
    Right {
        name: "Change",
        actions: &[
            set::DELETE,
            set::PUT_BOUNDARY,
            inline::PROVISION,
            inline::PUT_INLINE,
            assignment::CREATE,
            assignment::DELETE,
        ],
        on: On::Only(&[SETS]),
        when: OF_CONNECTOR,
        to: To::Change,
    },
    // Not of other permission sets, and not in the management account.
    Right {
        name: "Assign",
        actions: &[assignment::CREATE, assignment::DELETE, inline::PROVISION],
        on: On::AllBut(&[assignment::MANAGEMENT_ACCOUNT, SETS], ANY_ACCOUNT),
        when: &[],
        to: To::Change,
    },
];

const LOOK_AT_SESSIONS: Right = Right {
    name: "LookAtSessions",
    actions: &[sessions::LIST],
    on: On::Everything,
    when: &[],
    to: To::Look,
};
const TRY: Right = Right {
    name: "Try",
    actions: &[LIST_ROLES, SIMULATE],
    on: On::Everything,
    when: &[],
    to: To::Look,
};
const LOOK_AT_DOCUMENTS: Right = Right {
    name: "LookAtDocuments",
    actions: &[document::DESCRIBE],
    on: On::Only(&[DOCUMENTS]),
    when: &[],
    to: To::Look,
};
const LOOK_AT_PREFERENCES: Right = Right {
    name: "LookAtPreferences",
    actions: &[document::GET],
    on: On::Only(&[THE_PREFERENCES]),
    when: &[],
    to: To::Look,
};
const CREATE_DOCUMENTS: Right = Right {
    name: "CreateDocuments",
    actions: &[document::CREATE, document::TAG],
    on: On::Only(&[DOCUMENTS]),
    when: BY_CONNECTOR,
    to: To::Change,
};
const CHANGE_DOCUMENTS: Right = Right {
    name: "ChangeDocuments",
    actions: &[document::DELETE, document::UPDATE],
    on: On::Only(&[DOCUMENTS]),
    when: OF_CONNECTOR,
    to: To::Change,
};
// A session's ARN does not tell whose it is.
const END_SESSIONS: Right = Right {
    name: "EndSessions",
    actions: &[sessions::TERMINATE],
    on: On::Only(&[SESSIONS]),
    when: &[],
    to: To::Change,
};

/// In member accounts, where policies are written.
pub(super) const BY_POLICY_IN_MEMBERS: &[Right] = &[
    Right {
        name: "Look",
        actions: &[policy::GET, policy::GET_VERSION, policy::LIST_VERSIONS],
        on: On::Only(&[POLICIES]),
        when: &[],
        to: To::Look,
    },
    LOOK_AT_SESSIONS,
    TRY,
    LOOK_AT_DOCUMENTS,
    LOOK_AT_PREFERENCES,
    CREATE_DOCUMENTS,
    CHANGE_DOCUMENTS,
    END_SESSIONS,
    // AWS asks for both where a policy is made with tags.
    Right {
        name: "Create",
        actions: &[policy::CREATE, policy::TAG],
        on: On::Only(&[POLICIES]),
        when: BY_CONNECTOR,
        to: To::Change,
    },
    Right {
        name: "Change",
        actions: &[policy::CREATE_VERSION, policy::DELETE, policy::DELETE_VERSION],
        on: On::Only(&[POLICIES]),
        when: OF_CONNECTOR,
        to: To::Change,
    },
];

/// In member accounts, where none is written: what shells take.
pub(super) const INLINE_IN_MEMBERS: &[Right] = &[
    LOOK_AT_SESSIONS,
    TRY,
    LOOK_AT_DOCUMENTS,
    LOOK_AT_PREFERENCES,
    CREATE_DOCUMENTS,
    CHANGE_DOCUMENTS,
    END_SESSIONS,
];
