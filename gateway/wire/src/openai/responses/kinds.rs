//! The kinds of items and tools that are the API's own, without a counterpart elsewhere.
//!
//! A call keeps them as they were written. They are sent only where they come from: to this API.

/// Tools that the provider runs, or that only its own clients know how to run.
const HOSTED_TOOLS: [&str; 13] = [
    "apply_patch",
    "code_interpreter",
    "computer",
    "computer_use",
    "computer_use_preview",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
    "web_search",
];

/// What hosted tools leave in a conversation, and what else only this API's own store or model understands.
const ITEMS: [&str; 24] = [
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "file_search_call",
    "image_generation_call",
    "item_reference",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

/// Returns whether the API has the hosted tool `kind`, also in a dated version such as `web_search_preview_2025_03_11`.
pub(super) fn is_hosted_tool(kind: &str) -> bool {
    let base = kind.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '_');
    let is_ours = HOSTED_TOOLS.contains(&kind) || matches!(base, "web_search" | "web_search_preview");
    // Another API writes its dates without separators: `web_search_20250305`.
    is_ours && !kind.rsplit('_').next().is_some_and(|date| date.len() == 8 && date.parse::<u32>().is_ok())
}

/// Returns whether the API has the item `kind`.
pub(super) fn is_item(kind: &str) -> bool {
    ITEMS.contains(&kind)
}
