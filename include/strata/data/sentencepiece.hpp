// Text as tokens of SentencePiece (Debian's libsentencepiece-dev). Programs that include it link libsentencepiece.
// Source: Kudo and Richardson, arXiv 1808.06226; https://github.com/google/sentencepiece.
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <sentencepiece_processor.h>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/core/view.hpp>
#include <strata/io/file.hpp>

namespace strata::inline STRATA_ABI {

/// A tokenizer that `spm_train` has made. With these options its tokens give back a text to the byte, if the text is UTF-8
/// without the letter U+2581, which SentencePiece writes for a space:
/// --normalization_rule_name=identity --add_dummy_prefix=false --remove_extra_whitespaces=false --byte_fallback
class sentencepiece_tokenizer {
 public:
  explicit sentencepiece_tokenizer(const std::filesystem::path& path) : name_(to_text(path)) {
    const buffer<std::byte> bytes = read_file(path);
    file_.assign(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size()));
    const auto status = own_->LoadFromSerializedProto({file_.data(), file_.size()});
    require(status.ok(), name_, " is no tokenizer of SentencePiece: ", status.ToString());
    for (int id = 0; id < own_->GetPieceSize(); ++id) texts_.push_back(text_of_piece(id));
  }

  const std::string& name() const { return name_; }
  int vocabulary() const { return own_->GetPieceSize(); }
  /// The bytes of the file.
  const std::string& file() const { return file_; }

  /// The tokens of a text, which is encoded line by line.
  std::vector<token> encode(std::string_view text) const {
    std::vector<token> ids;
    std::vector<int> part;
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
      const auto status = own_->Encode({text.data(), end}, &part);
      require(status.ok(), name_, " cannot encode a text: ", status.ToString());
      ids.insert(ids.end(), part.begin(), part.end());
      text.remove_prefix(end);
    }
    return ids;
  }
  std::string decode(std::span<const token> ids) const {
    std::string text;
    for (const token id : ids)
      require(id >= 0 && id < vocabulary(), "token ", id, " is outside of the vocabulary of ", vocabulary(), " of ",
              name_);
    const auto status = own_->Decode(std::vector<int>(ids.begin(), ids.end()), &text);
    require(status.ok(), name_, " cannot decode tokens: ", status.ToString());
    return text;
  }
  /// The text of one token, empty for control tokens. Joined, they are the text.
  std::string text_of(token id) const {
    require(id >= 0 && id < vocabulary(), "token ", id, " is outside of the vocabulary of ", vocabulary(), " of ",
            name_);
    return texts_[static_cast<std::size_t>(id)];
  }

 private:
  std::string text_of_piece(int id) const {
    if (own_->IsControl(id) || own_->IsUnused(id)) return {};
    const std::string piece = own_->IdToPiece(id);
    if (own_->IsByte(id)) return {static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16))};  // as in <0x0A>
    // In a piece, U+2581 stands for a space.
    constexpr std::string_view space = "\xe2\x96\x81";
    std::string text;
    for (std::size_t at = 0; at < piece.size();) {
      const bool is_space = piece.compare(at, space.size(), space) == 0;
      text += is_space ? ' ' : piece[at];
      at += is_space ? space.size() : 1;
    }
    return text;
  }

  std::string name_, file_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> own_ =
      std::make_unique<sentencepiece::SentencePieceProcessor>();
  std::vector<std::string> texts_;
};

}  // namespace strata
