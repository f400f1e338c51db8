// Continues a prompt with a trained model, byte by byte. Or measures how well the model predicts a text, or shows its
// description. This file reads the options. See README.md, or `write_text --help`.
#include "write_text.hpp"

#include <limits>
#include <map>

#include "program.hpp"

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  write_text::program_options options;
  CLI::App app("Continues a prompt with a trained model, or measures how well the model predicts a text.",
               "write_text");
  auto* weights =
      app.add_option("--weights", options.weights, "weights or checkpoint of train_text")->type_name("FILE");
  app.add_option("--prompt", options.prompts, "text to continue; repeat it to continue several texts at once")
      ->allow_extra_args(false);
  auto* measure = app.add_option("--measure", options.measured,
                                 "print instead the bits that the model needs for each byte of this file")
                      ->type_name("FILE");
  app.add_option("--tokenizer", options.tokenizer,
                 "model file of SentencePiece (default: tokenizer.model beside the weights, if it is there)")
      ->type_name("FILE");
  std::string described;
  auto* describe =
      app.add_option("--describe", described, "print the model in this file as C++ instead")->type_name("FILE");
  const std::map<std::string, strata::weight_format> formats{{"float32", strata::weight_format::float32},
                                                             {"bfloat16", strata::weight_format::bfloat16},
                                                             {"int8", strata::weight_format::int8}};
  std::string format = "float32";
  app.add_option("--format", format, "of the weights in memory; shorter formats are faster and less exact")
      ->check(CLI::IsMember(formats))
      ->capture_default_str();
  app.add_option("--length", options.length, "bytes, or tokens, to generate")
      ->check(examples::whole_number(0, examples::longest_text))
      ->capture_default_str();
  app.add_option("--temperature", options.sampling.temperature, "0: always the most likely byte or token")
      ->check(examples::number_from_0())
      ->capture_default_str();
  app.add_option("--threshold", options.sampling.threshold,
                 "0.9: draw from the most likely tenth of all bytes or tokens; 0: from all")
      ->check(examples::number_to_1())
      ->capture_default_str();
  app.add_option("--seed", options.sampling.seed, "of the random draws")
      ->check(examples::whole_number(0, std::numeric_limits<std::uint64_t>::max()))
      ->capture_default_str();
  auto* levels = app.add_flag("--levels", options.levels,
                              "show where positions of the coarse levels begin, in the prompt and what follows");
  app.add_option("--html", options.page, "with --levels: write a page instead")->type_name("FILE")->needs(levels);
  examples::add_device_options(app, options.device);

  return examples::run_program(app, argc, argv, [&] {
    if (describe->count() > 0) {
      examples::require_only(app, "--describe", {});
      write_text::describe(described);
      return 0;
    }
    strata::require(weights->count() > 0, "--weights is required, except with --describe");
    options.measures = measure->count() > 0;
    if (options.measures)
      examples::require_only(app, "--measure", {"--weights", "--tokenizer", "--format", "--device", "--threads"});
    else
      strata::require(!options.prompts.empty(), "--prompt, --measure or --describe is required");
    for (const std::string& text : options.prompts) strata::require(!text.empty(), "--prompt must not be empty");
    examples::require_device(app, options.device);
    options.format = formats.at(format);
    strata::check(options.sampling);
    if constexpr (examples::has_cuda)
      if (options.device.name == "cuda") return write_text::on_cuda(options);
    return write_text::on_cpu(options);
  });
}
