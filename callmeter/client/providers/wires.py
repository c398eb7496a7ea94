"""Providers with a wire format or credentials of their own: clouds above all."""

from callmeter.client.credentials.aws_profiles import region_of_profile
from callmeter.client.providers import aws_names
from callmeter.client.providers.row import OPENAI_CHAT, RESPONSES, Named, Provider, Variable

GOOGLE = {
    "project": Variable(
        env=("VERTEXAI_PROJECT", "VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT", "GOOGLE_VERTEX_PROJECT"),
        keywords=("vertex_project", "vertex_ai_project"),
    ),
    "location": Variable(
        env=("VERTEXAI_LOCATION", "VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION"),
        keywords=("vertex_location", "vertex_ai_location"),
        default="us-central1",
    ),
    "credentials": Variable(
        env=("VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"),
        keywords=("vertex_credentials", "vertex_ai_credentials"),
        secret=True,
    ),
}

VERTEX_URL = "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}"

VERTEX_PLACES = {
    "global": "https://aiplatform.googleapis.com/v1/projects/{project}/locations/global",
    "us": "https://aiplatform.us.rep.googleapis.com/v1/projects/{project}/locations/us",
    "eu": "https://aiplatform.eu.rep.googleapis.com/v1/projects/{project}/locations/eu",
}
"""Locations that are no single region. Source: google-genai, `_api_client.py`"""

AWS = {
    "region": Variable(
        env=("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"),
        keywords=("aws_region_name", "region"),
        elsewhere=region_of_profile,
        default="us-east-1",
    ),
    "access_key_id": Variable(keywords=("aws_access_key_id",), secret=True),
    "secret_access_key": Variable(keywords=("aws_secret_access_key",), secret=True),
    "session_token": Variable(keywords=("aws_session_token",), secret=True),
    "profile": Variable(keywords=("aws_profile_name",), secret=True),
    "role": Variable(env=("AWS_ROLE_NAME",), keywords=("aws_role_name",), secret=True),
    "session_name": Variable(env=("AWS_SESSION_NAME",), keywords=("aws_session_name",), secret=True),
    "external_id": Variable(env=("AWS_EXTERNAL_ID",), keywords=("aws_external_id",), secret=True),
    "web_identity_token": Variable(env=("AWS_WEB_IDENTITY_TOKEN",), keywords=("aws_web_identity_token",), secret=True),
    "sts_endpoint": Variable(
        env=("AWS_STS_ENDPOINT", "AWS_ENDPOINT_URL_STS"), keywords=("aws_sts_endpoint",), secret=True
    ),
    # Those of the environment stand apart: a session's token belongs to the keys that it came with.
    "env_access_key_id": Variable(env=("AWS_ACCESS_KEY_ID",), secret=True),
    "env_secret_access_key": Variable(env=("AWS_SECRET_ACCESS_KEY",), secret=True),
    "env_session_token": Variable(env=("AWS_SESSION_TOKEN",), secret=True),
    "env_profile": Variable(env=("AWS_PROFILE_NAME", "AWS_PROFILE"), secret=True),
    "env_web_identity": Variable(env=("AWS_WEB_IDENTITY_TOKEN_FILE",), secret=True),
    "credentials_file": Variable(env=("AWS_SHARED_CREDENTIALS_FILE",), secret=True),
    "config_file": Variable(env=("AWS_CONFIG_FILE",), secret=True),
    "model_id": Variable(keywords=("model_id",)),
}
"""Keys and region of Amazon's clouds; `model_id` is what is called where the model's name says only what it costs: a
provisioned model, an application's inference profile, an inference component."""


def partitions(host: str) -> dict[str, str]:
    """A service's addresses in regions whose host names end otherwise. Source: botocore, `partitions.json`"""
    ends = {"cn-north-1": "com.cn", "cn-northwest-1": "com.cn", "eusc-de-east-1": "eu"}
    return {region: f"https://{host.format(region=region)}.amazonaws.{end}" for region, end in ends.items()}


def amazon_hosts(host: str) -> tuple[str, ...]:
    """A service's further hosts: of those partitions, and the private ones of a caller's network."""
    return (
        f"{host}.amazonaws.com.cn",
        f"{host}.amazonaws.eu",
        f"{{endpoint}}.{host}.vpce.amazonaws.com",
        f"{{endpoint}}.{host}.vpce.amazonaws.com.cn",
    )


ENTRA = {
    "tenant_id": Variable(env=("AZURE_TENANT_ID",), keywords=("tenant_id",)),
    "client_id": Variable(env=("AZURE_CLIENT_ID",), keywords=("client_id",)),
    "client_secret": Variable(env=("AZURE_CLIENT_SECRET",), keywords=("client_secret",), secret=True),
    "azure_ad_token": Variable(env=("AZURE_AD_TOKEN",), keywords=("azure_ad_token",), secret=True),
    "azure_ad_token_provider": Variable(keywords=("azure_ad_token_provider",), secret=True),
    "authority": Variable(env=("AZURE_AUTHORITY_HOST",), keywords=("azure_authority_host",)),
    "scope": Variable(
        env=("AZURE_SCOPE",),
        keywords=("azure_scope",),
        default="https://cognitiveservices.azure.com/.default",
    ),
}

HUGGING_FACE_ROUTES_TO = frozenset(
    """baseten cerebras cohere deepinfra fal-ai featherless-ai fireworks-ai groq hf-inference novita nscale openai
    ovhcloud publicai replicate scaleway together wavespeed zai-org""".split()
)
"""Inference providers by their names there. Source: huggingface_hub 2.4.0, `inference/_providers`."""


def routed(model: str) -> Named:
    """A model at Hugging Face: `PROVIDER/ORG/NAME` is asked for as `ORG/NAME:PROVIDER`."""
    provider, _, rest = model.partition("/")
    return Named(OPENAI_CHAT, f"{rest}:{provider}" if provider in HUGGING_FACE_ROUTES_TO and "/" in rest else model)


ROWS = (
    Provider(
        "anthropic",
        display="Anthropic",
        codec="anthropic",
        base_url="https://api.anthropic.com",
        key_env=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        base_env=("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"),
        aliases=("claude",),
        docs="https://docs.anthropic.com/en/api/messages",
        verified="sdk",
    ),
    Provider(
        "azure",
        display="Azure OpenAI",
        codec="azure",
        base_url="https://{resource}.openai.azure.com",
        key_env=("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
        base_env=("AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT"),
        needs_key=False,
        aliases=("azure_openai", "azureopenai"),
        serves=("chat", "embedding", "image_generation", "responses", "transcription", "speech"),
        variables={
            "resource": Variable(env=("AZURE_RESOURCE_NAME",), keywords=("azure_resource",)),
            "api_version": Variable(
                env=("AZURE_API_VERSION", "OPENAI_API_VERSION"), keywords=("api_version",), default="2024-10-21"
            ),
            **ENTRA,
        },
        signer="azure",
        quirks={"key_header": "api-key"},
        wires={RESPONSES: "openai_responses"},
        docs="https://learn.microsoft.com/en-us/azure/ai-services/openai/reference",
        verified="sdk",
    ),
    Provider(
        "azure_ai",
        display="Azure AI Foundry",
        codec="azure_ai",
        base_url="https://{resource}.services.ai.azure.com/models",
        key_env=("AZURE_AI_API_KEY", "AZURE_API_KEY", "AZURE_COGNITIVE_SERVICES_API_KEY"),
        base_env=("AZURE_AI_API_BASE",),
        needs_key=False,
        aliases=("azure-cognitive-services", "azure_foundry"),
        serves=("chat", "embedding"),
        variables={
            "resource": Variable(env=("AZURE_RESOURCE_NAME",), keywords=("azure_resource",)),
            "api_version": Variable(
                env=("AZURE_AI_API_VERSION",), keywords=("api_version",), default="2024-05-01-preview"
            ),
            **ENTRA,
        },
        signer="azure",
        quirks={"key_header": "api-key"},
        wires={"claude": "azure_anthropic"},
        docs="https://learn.microsoft.com/en-us/rest/api/aifoundry/model-inference/",
    ),
    Provider(
        "bedrock",
        display="Amazon Bedrock",
        codec="bedrock",
        reads=aws_names.bedrock,
        base_url="https://bedrock-runtime.{region}.amazonaws.com",
        places=partitions("bedrock-runtime.{region}"),
        hosts=(
            "bedrock-runtime-fips.{region}.amazonaws.com",
            "bedrock-runtime.{region}.api.aws",
            *amazon_hosts("bedrock-runtime.{region}"),
        ),
        key_env=("AWS_BEARER_TOKEN_BEDROCK",),
        base_env=("AWS_BEDROCK_RUNTIME_ENDPOINT", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
        base_keywords=("aws_bedrock_runtime_endpoint",),
        needs_key=False,
        aliases=("amazon-bedrock", "bedrock_converse"),
        serves=("chat", "embedding"),
        variables={**AWS, "service": Variable(default="bedrock")},
        signer="aws",
        docs="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
        verified="sdk",
    ),
    Provider(
        "cohere",
        display="Cohere",
        codec="cohere",
        base_url="https://api.cohere.com",
        key_env=("COHERE_API_KEY", "CO_API_KEY"),
        base_env=("COHERE_BASE_URL", "COHERE_API_BASE"),
        aliases=("cohere_chat",),
        serves=("chat", "embedding", "rerank"),
        docs="https://docs.cohere.com/reference/chat",
        verified="sdk",
    ),
    Provider(
        "gemini",
        display="Google AI Studio",
        codec="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"),
        base_env=("GEMINI_API_BASE", "GOOGLE_GEMINI_BASE_URL"),
        aliases=("google", "google_ai_studio"),
        serves=("chat", "embedding", "image_generation"),
        docs="https://ai.google.dev/api/generate-content",
        verified="sdk",
    ),
    Provider(
        "gigachat",
        display="GigaChat",
        codec="gigachat",
        base_url="https://gigachat.devices.sberbank.ru/api/v1",
        key_env=("GIGACHAT_CREDENTIALS", "GIGACHAT_API_KEY"),
        base_env=("GIGACHAT_API_BASE", "GIGACHAT_BASE_URL"),
        variables={
            "scope": Variable(env=("GIGACHAT_SCOPE",), keywords=("gigachat_scope",), default="GIGACHAT_API_PERS"),
            "auth_url": Variable(
                env=("GIGACHAT_AUTH_URL",),
                keywords=("gigachat_auth_url",),
                default="https://ngw.devices.sberbank.ru:9443/api/v2/oauth",
            ),
            "token": Variable(env=("GIGACHAT_ACCESS_TOKEN",), keywords=("gigachat_access_token",), secret=True),
        },
        signer="gigachat",
        exchanges_key=True,
        quirks={"usage": {"cache_read_tokens": "precached_prompt_tokens"}, "free_cache": True},
        docs="https://developers.sber.ru/docs/ru/gigachat/api/reference/rest/post-chat",
        verified="sdk",
    ),
    Provider(
        "huggingface",
        display="Hugging Face",
        base_url="https://router.huggingface.co/v1",
        key_env=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
        base_env=("HF_API_BASE", "HUGGINGFACE_API_BASE"),
        aliases=("hf",),
        serves=("chat", "responses"),
        headers={"x-hf-bill-to": "$HF_BILL_TO"},
        reads=routed,
        quirks={"dedicated_path": "/v1/chat/completions"},
        docs="https://huggingface.co/docs/inference-providers/tasks/chat-completion",
        verified="recorded",
    ),
    Provider(
        "langgraph",
        display="LangGraph server",
        codec="langgraph",
        base_url="http://localhost:2024",
        key_env=("LANGGRAPH_API_KEY",),
        base_env=("LANGGRAPH_API_BASE",),
        needs_key=False,
        quirks={"key_header": "x-api-key"},
        docs="https://langchain-ai.github.io/langgraph/cloud/reference/api/api_ref.html",
        verified="recorded",
    ),
    Provider(
        "nlp_cloud",
        display="NLP Cloud",
        codec="nlp_cloud",
        base_url="https://api.nlpcloud.io/v1/gpu",
        key_env=("NLP_CLOUD_API_KEY",),
        base_env=("NLP_CLOUD_API_BASE",),
        docs="https://docs.nlpcloud.com/#generation",
    ),
    # Oracle's OpenAI-compatible endpoint; its own `/20231130/actions/chat` is not spoken.
    Provider(
        "oci",
        display="Oracle Cloud Generative AI",
        base_url="https://inference.generativeai.{region}.oci.oraclecloud.com/openai/v1",
        key_env=("OCI_GENAI_API_KEY", "OCI_API_KEY"),
        base_env=("OCI_API_BASE",),
        needs_key=False,
        aliases=("oracle",),
        serves=("chat", "responses"),
        wires={RESPONSES: "openai_responses"},
        headers={"opc-compartment-id": "$OCI_COMPARTMENT_ID", "compartmentid": "$OCI_COMPARTMENT_ID"},
        variables={
            "region": Variable(env=("OCI_REGION",), keywords=("oci_region",), default="us-chicago-1"),
            "user": Variable(env=("OCI_USER",), keywords=("oci_user",), secret=True),
            "tenancy": Variable(env=("OCI_TENANCY",), keywords=("oci_tenancy",), secret=True),
            "fingerprint": Variable(env=("OCI_FINGERPRINT",), keywords=("oci_fingerprint",), secret=True),
            "private_key": Variable(env=("OCI_KEY", "OCI_KEY_FILE"), keywords=("oci_key", "oci_key_file"), secret=True),
            "config_file": Variable(env=("OCI_CONFIG_FILE",), keywords=("oci_config_file",), secret=True),
            "profile": Variable(env=("OCI_CONFIG_PROFILE",), keywords=("oci_profile",), secret=True),
        },
        signer="oci",
        docs="https://docs.oracle.com/en-us/iaas/Content/generative-ai/openai-compatible-api.htm",
    ),
    Provider(
        "ollama",
        display="Ollama",
        codec="ollama",
        base_url="http://localhost:11434",
        key_env=("OLLAMA_API_KEY",),
        base_env=("OLLAMA_API_BASE", "OLLAMA_HOST"),
        needs_key=False,
        aliases=("ollama_chat",),
        serves=("chat", "embedding"),
        docs="https://docs.ollama.com/api",
        verified="sdk",
    ),
    Provider(
        "replicate",
        display="Replicate",
        codec="replicate",
        base_url="https://api.replicate.com/v1",
        key_env=("REPLICATE_API_TOKEN", "REPLICATE_API_KEY"),
        base_env=("REPLICATE_API_BASE",),
        docs="https://replicate.com/docs/reference/http",
        verified="sdk",
    ),
    Provider(
        "sagemaker",
        display="Amazon SageMaker",
        codec="sagemaker",
        base_url="https://runtime.sagemaker.{region}.amazonaws.com",
        places=partitions("runtime.sagemaker.{region}"),
        hosts=("runtime-fips.sagemaker.{region}.amazonaws.com", *amazon_hosts("runtime.sagemaker.{region}")),
        base_env=("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME",),
        needs_key=False,
        aliases=("sagemaker_chat",),
        variables={**AWS, "service": Variable(default="sagemaker")},
        signer="aws",
        docs="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html",
        verified="sdk",
    ),
    Provider(
        "sap",
        display="SAP AI Core",
        codec="sap",
        base_url="https://api.ai.{region}.aws.ml.hana.ondemand.com",
        key_env=("AICORE_SERVICE_KEY",),
        base_env=("AICORE_BASE_URL",),
        aliases=("sap-ai-core",),
        variables={
            "region": Variable(env=("AICORE_REGION",), keywords=("sap_region",), default="prod.eu-central-1"),
            "deployment": Variable(env=("AICORE_DEPLOYMENT_ID",), keywords=("deployment",)),
            "resource_group": Variable(env=("AICORE_RESOURCE_GROUP",), keywords=("resource_group",), default="default"),
            "client_id": Variable(env=("AICORE_CLIENT_ID",), keywords=("sap_client_id",), secret=True),
            "client_secret": Variable(env=("AICORE_CLIENT_SECRET",), keywords=("sap_client_secret",), secret=True),
            "auth_url": Variable(env=("AICORE_AUTH_URL",), keywords=("sap_auth_url",), secret=True),
        },
        signer="sap",
        exchanges_key=True,
        docs="https://help.sap.com/docs/sap-ai-core/generative-ai/orchestration-8d022355037643cebf775cd3bf662cc5",
    ),
    Provider(
        "triton",
        display="NVIDIA Triton",
        codec="triton",
        base_url="http://localhost:8000",
        key_env=("TRITON_API_KEY",),
        base_env=("TRITON_API_BASE",),
        needs_key=False,
        docs="https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md",
    ),
    Provider(
        "vertex_ai",
        display="Google Vertex AI",
        codec="gemini",
        wires={"claude": "anthropic_vertex"},
        base_url=VERTEX_URL,
        places=VERTEX_PLACES,
        base_env=("VERTEXAI_API_BASE",),
        needs_key=False,
        aliases=("google-vertex", "vertex", "vertexai"),
        serves=("chat", "embedding", "image_generation"),
        variables=GOOGLE,
        signer="google",
        docs="https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference",
        verified="sdk",
    ),
    Provider(
        "vertex_anthropic",
        display="Anthropic on Vertex AI",
        codec="anthropic_vertex",
        base_url=VERTEX_URL,
        places=VERTEX_PLACES,
        base_env=("VERTEXAI_API_BASE",),
        needs_key=False,
        aliases=("google-vertex-anthropic", "vertexaianthropic"),
        variables=GOOGLE,
        signer="google",
        docs="https://docs.anthropic.com/en/api/claude-on-vertex-ai",
        verified="sdk",
    ),
    Provider(
        "voyage",
        display="Voyage AI",
        codec="voyage",
        base_url="https://api.voyageai.com/v1",
        key_env=("VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", "VOYAGE_AI_TOKEN"),
        base_env=("VOYAGE_API_BASE",),
        aliases=("voyageai",),
        serves=("embedding", "rerank"),
        docs="https://docs.voyageai.com/reference/embeddings-api",
    ),
    Provider(
        "watsonx",
        display="IBM watsonx.ai",
        codec="watsonx",
        base_url="https://{region}.ml.cloud.ibm.com",
        key_env=("WATSONX_APIKEY", "WATSONX_API_KEY", "WX_API_KEY"),
        base_env=("WATSONX_URL", "WATSONX_API_BASE", "WX_URL", "WML_URL"),
        aliases=("watsonx_text",),
        serves=("chat", "embedding"),
        variables={
            "region": Variable(env=("WATSONX_REGION",), keywords=("watsonx_region",), default="us-south"),
            "project_id": Variable(env=("WATSONX_PROJECT_ID", "WX_PROJECT_ID"), keywords=("project_id",)),
            "space_id": Variable(
                env=("WATSONX_SPACE_ID", "WATSONX_DEPLOYMENT_SPACE_ID", "WX_SPACE_ID"), keywords=("space_id",)
            ),
            "api_version": Variable(
                env=("WATSONX_API_VERSION", "WX_API_VERSION"), keywords=("api_version",), default="2025-02-11"
            ),
            "iam_url": Variable(
                env=("WATSONX_IAM_URL",),
                keywords=("iam_url",),
                default="https://iam.cloud.ibm.com/identity/token",
            ),
            "token": Variable(env=("WATSONX_TOKEN", "WX_TOKEN"), keywords=("watsonx_token", "token"), secret=True),
            "zen_api_key": Variable(env=("WATSONX_ZENAPIKEY",), keywords=("zen_api_key",), secret=True),
        },
        signer="ibm",
        exchanges_key=True,
        docs="https://cloud.ibm.com/apidocs/watsonx-ai#text-chat",
    ),
)
