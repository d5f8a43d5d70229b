// Words of the API explorer.

export const explorer = {
  en: {
    "explorer.title": "API explorer", "explorer.lead": "Every verb of this server: POST a JSON object, get a JSON object.", "explorer.search": "Search in verbs and what they do", "explorer.verb": "Verb", "explorer.does": "What it does", "explorer.kind": "Changes",
    "explorer.read": "reads only", "explorer.write": "changes something", "explorer.traffic": "sends or changes", "explorer.empty": "No verb fits.", "explorer.yours": "You may", "explorer.denied": "not your role", "explorer.nosuch": "There is no verb {verb}.",
    "explorer.params": "Params", "explorer.params.none": "It takes no params.", "explorer.name": "Name", "explorer.type": "Type", "explorer.text": "What it is", "explorer.required": "required", "explorer.oneof": "one of these", "explorer.any": "any JSON", "explorer.list": "list of {type}", "explorer.either": "or",
    "explorer.result": "What it gives", "explorer.try": "Try it", "explorer.body": "Params as JSON", "explorer.example": "Start over with the example", "explorer.as": "Run as", "explorer.as.me": "yourself: {user}, {role}", "explorer.as.key": "an API key", "explorer.key": "API key", "explorer.key.hint": "It stays in this page and is forgotten when the page is closed.",
    "explorer.denied.long": "Your role may not run {verb}. With an API key that may, you can.", "explorer.idempotency": "Idempotency-Key", "explorer.idempotency.hint": "optional: a repeat with the same key gets the first answer", "explorer.run": "Run", "explorer.run.title": "Run {verb}?",
    "explorer.run.text": "It changes something on this server, in your name, and is written to the audit log.", "explorer.answer": "Answer", "explorer.status": "Status {status}", "explorer.took": "{ms} ms", "explorer.curl": "As a command", "explorer.notjson": "The answer is no JSON:",
  },
  zh: {
    "explorer.title": "API 浏览器", "explorer.lead": "此服务器的全部操作：POST 一个 JSON 对象，得到一个 JSON 对象。", "explorer.search": "搜索操作及其说明", "explorer.verb": "操作", "explorer.does": "说明", "explorer.kind": "影响",
    "explorer.read": "只读", "explorer.write": "会更改", "explorer.traffic": "发送或更改", "explorer.empty": "没有符合条件的操作。", "explorer.yours": "权限", "explorer.denied": "角色不允许", "explorer.nosuch": "没有操作 {verb}。",
    "explorer.params": "参数", "explorer.params.none": "没有参数。", "explorer.name": "名称", "explorer.type": "类型", "explorer.text": "说明", "explorer.required": "必填", "explorer.oneof": "择一", "explorer.any": "任意 JSON", "explorer.list": "{type} 列表", "explorer.either": "或",
    "explorer.result": "返回值", "explorer.try": "试一试", "explorer.body": "JSON 参数", "explorer.example": "恢复为示例", "explorer.as": "运行身份", "explorer.as.me": "自己：{user}，{role}", "explorer.as.key": "API 密钥", "explorer.key": "API 密钥", "explorer.key.hint": "只保存在本页内存中，关闭页面后即丢弃。",
    "explorer.denied.long": "你的角色不能运行 {verb}，可以使用有权限的 API 密钥。", "explorer.idempotency": "Idempotency-Key", "explorer.idempotency.hint": "可选：相同的键重复请求会得到第一次的结果", "explorer.run": "运行", "explorer.run.title": "运行 {verb}？",
    "explorer.run.text": "它会以你的名义更改此服务器上的内容，并写入审计日志。", "explorer.answer": "结果", "explorer.status": "状态码 {status}", "explorer.took": "{ms} 毫秒", "explorer.curl": "命令行", "explorer.notjson": "返回的不是 JSON：",
  },
} as const;
