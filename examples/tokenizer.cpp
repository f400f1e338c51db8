#include "tokenizer.hpp"

#include <algorithm>
#include <charconv>

#include <strata/core/error.hpp>

#include "console.hpp"

#if STRATA_HAS_SENTENCEPIECE
#include <strata/data/sentencepiece.hpp>
#endif

namespace examples {
namespace {

class bytes final : public tokenizer {
 public:
  int vocabulary() const override { return 256; }
  std::vector<strata::token> encode(std::string_view text) const override {
    std::vector<strata::token> ids;
    for (const char letter : text) ids.push_back(static_cast<unsigned char>(letter));
    return ids;
  }
  std::string text_of(strata::token id) const override { return {static_cast<char>(id)}; }
  const char* unit() const override { return "byte"; }
};

class numbers final : public tokenizer {
 public:
  int vocabulary() const override { return 0; }
  std::vector<strata::token> encode(std::string_view text) const override {
    std::vector<strata::token> ids;
    for (const char *at = text.data(), *const end = at + text.size(); at < end;) {
      if (*at == ' ' || *at == '\n') {
        ++at;
        continue;
      }
      const auto [stop, problem] = std::from_chars(at, end, ids.emplace_back());
      const bool ends = stop == end || *stop == ' ' || *stop == '\n';
      strata::require(problem == std::errc() && ids.back() >= 0 && ends, "'",
                      examples::printable(std::string(at, std::min<std::ptrdiff_t>(end - at, 20))),
                      "' is no number of a token; a model whose tokenizer is not known needs numbers");
      at = stop;
    }
    return ids;
  }
  std::string text_of(strata::token id) const override { return ' ' + std::to_string(id); }
  bool knows_text() const override { return false; }
};

#if STRATA_HAS_SENTENCEPIECE
class pieces final : public tokenizer {
 public:
  explicit pieces(const std::filesystem::path& path) : own_(path) {}
  int vocabulary() const override { return own_.vocabulary(); }
  std::vector<strata::token> encode(std::string_view text) const override { return own_.encode(text); }
  std::string text_of(strata::token id) const override { return own_.text_of(id); }
  std::string name() const override { return own_.name(); }
  std::string_view file() const override { return own_.file(); }

 private:
  strata::sentencepiece_tokenizer own_;
};
#endif

}  // namespace

std::shared_ptr<const tokenizer> byte_tokens() { return std::make_shared<bytes>(); }
std::shared_ptr<const tokenizer> numbered_tokens() { return std::make_shared<numbers>(); }

std::shared_ptr<const tokenizer> read_tokenizer(const std::filesystem::path& path) {
#if STRATA_HAS_SENTENCEPIECE
  return std::make_shared<pieces>(path);
#else
  strata::fail("cannot read the tokenizer ", path,
               ": this program was built without SentencePiece; install libsentencepiece-dev and build it again");
#endif
}

}  // namespace examples
