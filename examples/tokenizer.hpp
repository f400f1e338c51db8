// What tokens stand for: bytes, pieces of text, or numbers.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <strata/core/view.hpp>

namespace examples {

class tokenizer {
 public:
  virtual ~tokenizer() = default;
  /// The number of different tokens; 0: any.
  virtual int vocabulary() const = 0;
  virtual std::vector<strata::token> encode(std::string_view text) const = 0;
  /// The text of one token. Joined, they are the text.
  virtual std::string text_of(strata::token id) const = 0;
  /// Whether the text of a token has the bytes that the token stands for. Otherwise it only shows the token.
  virtual bool knows_text() const { return true; }
  /// For messages: its file, if it has one.
  virtual std::string name() const { return {}; }
  /// What a token is, for messages.
  virtual const char* unit() const { return "token"; }
  /// The bytes of its file, if it has one.
  virtual std::string_view file() const { return {}; }
};

/// Every byte is a token.
std::shared_ptr<const tokenizer> byte_tokens();
/// Tokens of which nothing is known but their numbers.
std::shared_ptr<const tokenizer> numbered_tokens();
/// Reads a model of SentencePiece. Fails in a program that was built without SentencePiece.
std::shared_ptr<const tokenizer> read_tokenizer(const std::filesystem::path& path);

/// The name of a run's copy of its tokenizer.
inline constexpr const char* tokenizer_name = "tokenizer.model";

/// The tokenizer that a run keeps beside its file `path`; empty if there is none.
inline std::filesystem::path tokenizer_beside(const std::filesystem::path& path) {
  const auto found = path.parent_path() / tokenizer_name;
  return std::filesystem::exists(found) ? found : std::filesystem::path();
}

}  // namespace examples
