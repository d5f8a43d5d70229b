// Words of the pages in src/pages that are about operations.

import { explorer } from "./explorer.ts";
import { overview } from "./overview.ts";
import { schedules } from "./schedules.ts";

const more = {
  en: {
    "hooks.title": "Hooks", "hooks.none": "This server has no hooks: no application is asked or told of anything. They are set up under “hooks” in the configuration.",
    "hooks.state.ok": "ok", "hooks.state.open": "circuit open", "hooks.state.idle": "not used yet", "hooks.state.failing": "failing", "hooks.queued": "Waiting", "hooks.underway": "Under way",
    "hooks.asked": "Questions asked", "hooks.told": "Events told", "hooks.delivered": "Delivered", "hooks.dropped": "Dropped", "hooks.retries": "Repeated", "hooks.opened": "Circuit opened",
    "hooks.opened.times": "{n} times", "hooks.events": "Events", "hooks.reasons": "Dropped, by reason", "hooks.errors": "Last errors", "hooks.errors.none": "No errors since the server started.", "hooks.status": "Status", "hooks.error": "Error",
    "hooks.open.long": "After too many failures in a row nothing is sent for some seconds. Then one request is tried.", "hooks.events.none": "none",
    "audit.title": "Audit log", "audit.lead": "Who changed what, the newest first.", "audit.who": "Who", "audit.by": "By", "audit.by.console": "console", "audit.by.key": "API key", "audit.verb": "Verb", "audit.verb.hint": "may end with *",
    "audit.outcome": "Outcome", "audit.outcome.all": "all", "audit.outcome.ok": "ok", "audit.outcome.failed": "failed", "audit.outcome.open": "open", "audit.from": "From", "audit.to": "Until",
    "audit.target": "Target", "audit.address": "Address", "audit.role": "Role", "audit.params": "Params", "audit.params.none": "No params.", "audit.truncated": "The params were too long to be kept.",
    "audit.open.long": "The server ended before the verb did, or the verb is still running.", "audit.error": "Error", "audit.details": "Line of the audit log", "audit.export": "Export as NDJSON", "audit.empty": "No lines that fit.",
    "audit.gone": "There is no such line any more.", "audit.show": "Show the line of {time}, {verb}", "audit.clear": "Clear the filters",
    "settings.title": "Settings", "settings.lead": "What this server runs with. It is changed in the configuration, not here.", "settings.search": "Search in names, values and texts", "settings.changed": "Only what is not the default",
    "settings.source": "Source", "settings.source.default": "default", "settings.source.file": "file", "settings.source.environment": "environment", "settings.source.flag": "flag", "settings.source.program": "program",
    "settings.general": "general", "settings.none": "No setting fits.", "settings.count": "{n} of {all} settings", "settings.file": "Configuration file", "settings.env": "Environment", "settings.empty": "empty",
  },
  zh: {
    "hooks.title": "回调", "hooks.none": "此服务器没有配置回调：不会向任何应用询问或通知。请在配置文件的 hooks 中设置。",
    "hooks.state.ok": "正常", "hooks.state.open": "已熔断", "hooks.state.idle": "尚未使用", "hooks.state.failing": "出错", "hooks.queued": "排队中", "hooks.underway": "进行中",
    "hooks.asked": "询问次数", "hooks.told": "通知事件数", "hooks.delivered": "已送达", "hooks.dropped": "已丢弃", "hooks.retries": "重试次数", "hooks.opened": "熔断次数",
    "hooks.opened.times": "{n} 次", "hooks.events": "事件", "hooks.reasons": "丢弃原因", "hooks.errors": "最近的错误", "hooks.errors.none": "服务器启动以来没有错误。", "hooks.status": "状态码", "hooks.error": "错误",
    "hooks.open.long": "连续失败过多，几秒内不再发送请求，之后会尝试一次。", "hooks.events.none": "无",
    "audit.title": "审计日志", "audit.lead": "谁改了什么，最新的在最前面。", "audit.who": "操作者", "audit.by": "方式", "audit.by.console": "控制台", "audit.by.key": "API 密钥", "audit.verb": "操作", "audit.verb.hint": "可以用 * 结尾",
    "audit.outcome": "结果", "audit.outcome.all": "全部", "audit.outcome.ok": "成功", "audit.outcome.failed": "失败", "audit.outcome.open": "未完成", "audit.from": "从", "audit.to": "到",
    "audit.target": "对象", "audit.address": "地址", "audit.role": "角色", "audit.params": "参数", "audit.params.none": "没有参数。", "audit.truncated": "参数过长，没有保存。",
    "audit.open.long": "服务器在操作结束前退出，或者操作仍在进行。", "audit.error": "错误", "audit.details": "审计日志详情", "audit.export": "导出为 NDJSON", "audit.empty": "没有符合条件的记录。",
    "audit.gone": "这条记录已不存在。", "audit.show": "查看 {time} 的记录 {verb}", "audit.clear": "清除筛选条件",
    "settings.title": "设置", "settings.lead": "服务器当前使用的设置。请在配置中修改，这里只能查看。", "settings.search": "搜索名称、值和说明", "settings.changed": "只显示非默认值",
    "settings.source": "来源", "settings.source.default": "默认", "settings.source.file": "配置文件", "settings.source.environment": "环境变量", "settings.source.flag": "命令行参数", "settings.source.program": "程序",
    "settings.general": "常规", "settings.none": "没有符合条件的设置。", "settings.count": "{n} / {all} 项设置", "settings.file": "配置文件", "settings.env": "环境变量", "settings.empty": "空",
  },
} as const;

export const operations = {
  en: { ...more.en, ...overview.en, ...schedules.en, ...explorer.en },
  zh: { ...more.zh, ...overview.zh, ...schedules.zh, ...explorer.zh },
} as const;
