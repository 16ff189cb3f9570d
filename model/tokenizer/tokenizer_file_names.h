#pragma once

namespace peerage {

// Files of a Hugging Face directory, as errors and origins of tokens name them.
inline constexpr char kTokenizerJsonName[] = "tokenizer.json";
inline constexpr char kTokenizerConfigName[] = "tokenizer_config.json";
inline constexpr char kChatTemplateName[] = "chat_template.jinja";
inline constexpr char kGenerationConfigName[] = "generation_config.json";
inline constexpr char kVocabName[] = "vocab.json";
inline constexpr char kMergesName[] = "merges.txt";
inline constexpr char kAddedTokensName[] = "added_tokens.json";
inline constexpr char kSpecialTokensMapName[] = "special_tokens_map.json";
inline constexpr char kModelConfigName[] = "config.json";
inline constexpr char kPostProcessorName[] = "tokenizer.json's post_processor";

}  // namespace peerage
