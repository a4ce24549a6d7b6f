// The `flagstream` command: reads the command line and calls the subcommand.
#include <cstdlib>
#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>

#include "app/client_commands.h"
#include "app/config.h"
#include "app/config_import.h"
#include "app/data_folder.h"
#include "app/evaluate.h"
#include "app/exit_status.h"
#include "app/log_cat.h"
#include "app/log_commands.h"
#include "app/serve.h"
#include "app/sql_command.h"
#include "io/crash_point.h"
#include "io/file_system.h"
#include "lake/sql_query.h"

extern char** environ;

namespace flagstream::app {
namespace {

// What several subcommands share.
struct Common {
  std::string config_file;
  std::string data_folder;
  std::vector<std::string> set;  // key=value

  void add_to(CLI::App& command) {
    command.add_option("--config", config_file, "TOML file with settings");
    command.add_option("--data", data_folder, "the data folder (the same as --set data=FOLDER)");
    command.add_option("--set", set, "a setting as key=value; may be repeated")
        ->allow_extra_args(false);
  }

  std::vector<std::string> forwarded() const {
    std::vector<std::string> out;
    if (!config_file.empty()) out.insert(out.end(), {"--config", config_file});
    if (!data_folder.empty()) out.insert(out.end(), {"--data", data_folder});
    for (const std::string& each : set) out.insert(out.end(), {"--set", each});
    return out;
  }

  Result<Effective> load() const {
    Sources sources;
    if (!config_file.empty()) sources.file = config_file;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string_view text(*entry);
      const std::size_t equals = text.find('=');
      if (text.starts_with("FLAGSTREAM_") && equals != std::string_view::npos) {
        sources.environment[std::string(text.substr(0, equals))] = text.substr(equals + 1);
      }
    }
    if (!data_folder.empty()) sources.command_line.emplace_back("data", data_folder);
    for (const std::string& each : set) {
      const std::size_t equals = each.find('=');
      if (equals == std::string::npos)
        return fail(ErrorKind::InvalidArgument, "--set " + each + ": needs key=value");
      sources.command_line.emplace_back(each.substr(0, equals), each.substr(equals + 1));
    }
    return app::load(sources);
  }
};

int report(const Error& error) {
  std::cerr << "flagstream: " << error.what << '\n';
  return error.kind == ErrorKind::InvalidArgument ? kExitConfig : kExitFailed;
}

// Every subcommand stores what it would do here; main runs it after the command line was accepted.
using Chosen = std::function<int()>;

void add_serve(CLI::App& root, Common& common, Chosen& chosen) {
  CLI::App* command = root.add_subcommand("serve", "runs the server: all roles, or one of them");
  common.add_to(*command);
  auto options = std::make_shared<ServeOptions>();
  auto role = std::make_shared<std::string>();
  command->add_flag("--demo", options->demo, "make a demo project for examples/shop");
  command->add_option("--example", options->example, "a command to run beside the demo");
  command
      ->add_option("--role", *role,
                   "gateway, control or processor: only that role, in this process")
      ->check(CLI::IsMember({"gateway", "control", "processor"}));
  command->add_option("--stages", options->stages, "of the processor: transform, analytics, lake")
      ->delimiter(',')
      ->check(CLI::IsMember({"transform", "analytics", "lake"}));
  command->callback([&common, &chosen, options, role] {
    chosen = [&common, options, role] {
      auto effective = common.load();
      if (!effective) return report(effective.error());
      options->effective = *std::move(effective);
      options->load = [&common] { return common.load(); };
      if (!role->empty()) options->role = *role;
      options->forwarded = common.forwarded();
      return serve(*options);
    };
  });
}

void add_config(CLI::App& root, Common& common, Chosen& chosen) {
  CLI::App* command = root.add_subcommand("config", "shows and explains settings");
  command->require_subcommand(1);
  CLI::App* show_command =
      command->add_subcommand("show", "every setting, its value, and where that came from");
  common.add_to(*show_command);
  show_command->callback([&common, &chosen] {
    chosen = [&common] {
      const auto effective = common.load();
      if (!effective) return report(effective.error());
      std::cout << show(*effective);
      return kExitDone;
    };
  });
  CLI::App* explain_command = command->add_subcommand("explain", "what settings mean and accept");
  auto key = std::make_shared<std::string>();
  explain_command->add_option("key", *key, "one setting; none: all");
  explain_command->callback([&chosen, key] {
    chosen = [key] {
      const auto text = explain(*key);
      if (!text) return report(text.error());
      std::cout << *text;
      return kExitDone;
    };
  });
  CLI::App* import_command = command->add_subcommand(
      "import", "flags of a /sdk/latest-all document, for a gateway without control");
  common.add_to(*import_command);
  auto import = std::make_shared<ImportOptions>();
  import_command->add_option("file", import->file)->required();
  import_command->add_option("--sdk-key", import->sdk_key, "none: a new one the first time");
  import_command->add_option("--mobile-key", import->mobile_key);
  import_command->add_option("--client-side-id", import->client_side_id);
  import_command->add_option("--secure-mode", import->secure_mode,
                             "true: requests by client-side id need a hash of their context");
  import_command->callback([&common, &chosen, import] {
    chosen = [&common, import] {
      const auto effective = common.load();
      if (!effective) return report(effective.error());
      const auto folder = join_data_folder(io::posix_file_system(), effective->config.data_folder);
      if (!folder) return report(folder.error());
      if (io::posix_file_system().exists(folder->catalog())) {
        std::cerr << "flagstream: control keeps the flags of " << folder->path
                  << "; change them there (flagstream flag --help)\n";
        return kExitConflict;
      }
      import->log_folder = folder->log();
      return config_import(*import, std::cout, std::cerr);
    };
  });
  command->add_subcommand("reference", "the settings as a page of Markdown")->callback([&chosen] {
    chosen = [] {
      std::cout << reference_page();
      return kExitDone;
    };
  });
}

// What the subcommands of `log` share.
struct LogCommand {
  std::string topic;
  bool json = false;
  LogRange range;

  void add_to(CLI::App& command, Common& common) {
    common.add_to(command);
    command.add_flag("--json", json, "answer as JSON");
  }
  void add_range_to(CLI::App& command, Common& common) {
    common.add_to(command);
    command.add_option("topic", range.topic, kTopics)->required();
    command.add_option("--from", range.from,
                       "beginning, end, an offset, a time (RFC 3339) or how long ago (2h)");
    command.add_option("--to", range.to, "the same; records from there on are left out");
    command.add_option("--partition", range.partition, "only that one");
  }
  Console console() const { return {std::cout, std::cerr, json ? Output::Json : Output::Table}; }

  static constexpr char kTopics[] =
      "payloads, events, rejects.transform, rejects.analytics, config or memberships";
};

using RunLogCommand = std::function<int(LogCommand&, const LogPlace&)>;

void on_log_command(CLI::App& command, Common& common, Chosen& chosen,
                    std::shared_ptr<LogCommand> log, RunLogCommand run) {
  command.callback([&common, &chosen, log = std::move(log), run = std::move(run)] {
    chosen = [&common, log, run] {
      const auto effective = common.load();
      if (!effective) return report(effective.error());
      const Config& config = effective->config;
      const LogPlace place{.log_folder = data_folder_at(config.data_folder).log(),
                           .retention = config.retention,
                           .retention_bytes = config.retention_bytes};
      log->range.log_folder = place.log_folder;
      return run(*log, place);
    };
  });
}

void add_log_reading(CLI::App& command, Common& common, Chosen& chosen) {
  auto log = std::make_shared<LogCommand>();
  auto cat = std::make_shared<CatOptions>();
  CLI::App* cat_command =
      command.add_subcommand("cat", "the records of a topic, one JSON line each");
  log->add_range_to(*cat_command, common);
  cat_command->add_flag("--follow", cat->follow, "goes on with what is appended later");
  cat_command->add_option("--limit", cat->records_max, "records at most")
      ->check(CLI::NonNegativeNumber);
  on_log_command(*cat_command, common, chosen, log, [cat](LogCommand& all, const LogPlace&) {
    cat->range = all.range;
    return log_cat(*cat, SystemClock(), all.console());
  });

  log = std::make_shared<LogCommand>();
  auto exported = std::make_shared<ExportOptions>();
  CLI::App* export_command =
      command.add_subcommand("export", "the records of a topic with all they hold");
  log->add_range_to(*export_command, common);
  export_command->add_option("--output", exported->output, "a file; - is the standard output");
  export_command
      ->add_option("--format", exported->format,
                   "json: a line for each record; bodies: only the bodies of payloads, one a line")
      ->check(CLI::IsMember({"json", "bodies"}));
  on_log_command(*export_command, common, chosen, log,
                 [exported](LogCommand& all, const LogPlace&) {
                   exported->range = all.range;
                   return log_export(*exported, SystemClock(), all.console());
                 });
}

void add_log_forget(CLI::App& command, Common& common, Chosen& chosen) {
  auto log = std::make_shared<LogCommand>();
  auto options = std::make_shared<ForgetOptions>();
  CLI::App* forget = command.add_subcommand(
      "forget", "deletes what is older than a time from a topic, before retention does");
  log->add_to(*forget, common);
  forget->add_option("topic", options->topic, LogCommand::kTopics)->required();
  forget->add_option("--before", options->before,
                     "a time (RFC 3339) or how long ago (2h): files whose records are all older");
  forget->add_option("--reader", options->reader,
                     "instead: that a reader which is gone ever read the topic");
  forget->add_flag("--yes", options->yes, "do it; without, only say what would be done");
  forget->add_flag("--unread", options->unread, "also what a reader has not read");
  on_log_command(*forget, common, chosen, log, [options](LogCommand& all, const LogPlace& place) {
    return log_forget(place, *options, SystemClock(), all.console());
  });
}

void add_log(CLI::App& root, Common& common, Chosen& chosen) {
  CLI::App* command = root.add_subcommand("log", "looks into the durable log");
  command->require_subcommand(1);
  auto log = std::make_shared<LogCommand>();
  CLI::App* ls = command->add_subcommand("ls", "every topic, its size and who reads it");
  log->add_to(*ls, common);
  on_log_command(*ls, common, chosen, log, [](LogCommand& all, const LogPlace& place) {
    return log_ls(place, SystemClock(), all.console());
  });

  log = std::make_shared<LogCommand>();
  CLI::App* describe =
      command->add_subcommand("describe", "offsets, files and readers of one topic");
  log->add_to(*describe, common);
  describe->add_option("topic", log->topic, LogCommand::kTopics)->required();
  on_log_command(*describe, common, chosen, log, [](LogCommand& all, const LogPlace& place) {
    return log_describe(place, all.topic, SystemClock(), all.console());
  });

  log = std::make_shared<LogCommand>();
  CLI::App* verify =
      command->add_subcommand("verify", "reads everything and checks it; status 1 if damaged");
  log->add_to(*verify, common);
  verify->add_option("topic", log->topic, "one topic; none: all");
  on_log_command(*verify, common, chosen, log, [](LogCommand& all, const LogPlace& place) {
    return log_verify(place, all.topic, all.console());
  });
  add_log_reading(*command, common, chosen);
  add_log_forget(*command, common, chosen);
}

std::string default_data_folder() {
  const char* chosen = std::getenv("FLAGSTREAM_DATA");
  return chosen == nullptr ? Config{}.data_folder : chosen;
}

// Options of the subcommands that talk to a running server.
struct Client {
  ClientOptions options{.server = {}, .token = {}, .data_folder = default_data_folder()};
  bool json = false;
  Place place;

  void add_to(CLI::App& command) {
    command.add_option("--server", options.server, "address of the server (or FLAGSTREAM_SERVER)");
    command.add_option("--token", options.token, "access token (or FLAGSTREAM_TOKEN)");
    command.add_option("--data", options.data_folder,
                       "data folder of a server on this machine, whose token is used");
    command.add_flag("--json", json, "answer as JSON");
  }
  void add_place_to(CLI::App& command) {
    command.add_option("--project", place.project, "project key; none: the only one");
    command.add_option("--env", place.environment, "environment key")->capture_default_str();
  }
  Transport transport() const { return transport_to(options); }
  Console console() const { return {std::cout, std::cerr, json ? Output::Json : Output::Table}; }
};

CLI::App* add_client_command(CLI::App& parent, const char* name, const char* about,
                             Client& client) {
  CLI::App* command = parent.add_subcommand(name, about);
  client.add_to(*command);
  return command;
}

void add_projects(CLI::App& root, Client& client, Chosen& chosen) {
  CLI::App* project =
      root.add_subcommand("project", "lists and creates projects")->require_subcommand(1);
  add_client_command(*project, "list", "every project", client)->callback([&] {
    chosen = [&] { return project_list(client.transport(), client.console()); };
  });
  auto key = std::make_shared<std::string>();
  auto name = std::make_shared<std::string>();
  CLI::App* create = add_client_command(
      *project, "create", "a project with the environments test and production", client);
  create->add_option("key", *key)->required();
  create->add_option("--name", *name);
  create->callback([&client, &chosen, key, name] {
    chosen = [&client, key, name] {
      return project_create(client.transport(), client.console(), *key, *name);
    };
  });
}

void add_environments(CLI::App& root, Client& client, Chosen& chosen) {
  CLI::App* env =
      root.add_subcommand("env", "lists and creates environments")->require_subcommand(1);
  CLI::App* list = add_client_command(*env, "list", "the environments of a project", client);
  list->add_option("--project", client.place.project);
  list->callback([&] {
    chosen = [&] { return environment_list(client.transport(), client.console(), client.place); };
  });
  auto key = std::make_shared<std::string>();
  auto name = std::make_shared<std::string>();
  CLI::App* create =
      add_client_command(*env, "create", "an environment with keys of its own", client);
  create->add_option("key", *key)->required();
  create->add_option("--name", *name);
  create->add_option("--project", client.place.project);
  create->callback([&client, &chosen, key, name] {
    chosen = [&client, key, name] {
      return environment_create(client.transport(), client.console(), client.place, *key, *name);
    };
  });
}

void add_flags(CLI::App& root, Client& client, Chosen& chosen) {
  CLI::App* flag =
      root.add_subcommand("flag", "lists, creates and changes flags")->require_subcommand(1);
  CLI::App* list = add_client_command(*flag, "list", "the flags of a project", client);
  client.add_place_to(*list);
  list->callback([&] {
    chosen = [&] { return flag_list(client.transport(), client.console(), client.place); };
  });

  auto created = std::make_shared<NewFlagOptions>();
  CLI::App* create = add_client_command(*flag, "create", "a flag, off everywhere", client);
  client.add_place_to(*create);
  create->add_option("key", created->key)->required();
  create->add_option("--name", created->name);
  create
      ->add_option("--variation", created->variations,
                   "a JSON value; repeated; none: true and false")
      ->allow_extra_args(false);
  create->add_flag("--client-side", created->client_side,
                   "available to browsers and mobile applications");
  create->callback([&client, &chosen, created] {
    chosen = [&client, created] {
      return flag_create(client.transport(), client.console(), client.place, *created);
    };
  });

  auto key = std::make_shared<std::string>();
  for (const auto& [word, to] : {std::pair{"on", Switch::On}, {"off", Switch::Off}}) {
    CLI::App* turn = add_client_command(
        *flag, word, to == Switch::On ? "turns a flag on" : "turns a flag off", client);
    client.add_place_to(*turn);
    turn->add_option("key", *key)->required();
    turn->callback([&client, &chosen, key, to] {
      chosen = [&client, key, to] {
        return flag_switch(client.transport(), client.console(), client.place, *key, to);
      };
    });
  }

  auto shares = std::make_shared<std::vector<std::string>>();
  auto kind = std::make_shared<std::string>("user");
  CLI::App* rollout =
      add_client_command(*flag, "rollout", "serves variations by percentage", client);
  client.add_place_to(*rollout);
  rollout->add_option("key", *key)->required();
  rollout->add_option("shares", *shares, "VARIATION=PERCENT ...; together 100")->required();
  rollout->add_option("--context-kind", *kind)->capture_default_str();
  rollout->callback([&client, &chosen, key, shares, kind] {
    chosen = [&client, key, shares, kind] {
      return flag_rollout(client.transport(), client.console(), client.place, *key, *shares, *kind);
    };
  });
}

void add_sql(CLI::App& root, Common& common, Chosen& chosen) {
  CLI::App* command = root.add_subcommand("sql", "one SELECT over the lake's table `events`");
  common.add_to(*command);
  auto options = std::make_shared<SqlOptions>();
  auto is_json = std::make_shared<bool>(false);
  command
      ->add_option("query", options->query,
                   "e.g. \"SELECT kind, count(*) FROM events GROUP BY ALL\"")
      ->required();
  command->add_option("-o,--output", options->output, "table or json")
      ->check(CLI::IsMember({"table", "json"}));
  command->add_flag("--json", *is_json, "the same as -o json");
  command->add_option("--rows-max", options->rows_max, "rows at most; 1000 if not given");
  command->add_option("--bytes-max", options->bytes_max,
                      "size of the result at most; 8MiB if not given");
  command->add_option("--timeout", options->timeout, "time at most; 10s if not given");
  command->callback([&common, &chosen, options, is_json] {
    chosen = [&common, options, is_json] {
      const auto effective = common.load();
      if (!effective) return report(effective.error());
      if (*is_json) options->output = "json";
      options->lake_folder = data_folder_at(effective->config.data_folder).lake();
      return sql(*options, std::cout, std::cerr);
    };
  });
}

void add_evaluate(CLI::App& root, Chosen& chosen) {
  CLI::App* command =
      root.add_subcommand("evaluate", "what a flag serves to a context, without a server");
  auto options = std::make_shared<EvaluateOptions>();
  auto is_batch = std::make_shared<bool>(false);
  CLI::Option* data = command->add_option("--data", options->data_file,
                                          "file with {\"flags\":{...},\"segments\":{...}}");
  CLI::Option* flag = command->add_option("--flag", options->flag, "the flag's key");
  CLI::Option* context =
      command->add_option("--context", options->context, "JSON of a context or a legacy user");
  command
      ->add_flag("--batch", *is_batch,
                 "reads {\"flags\",\"segments\",\"flag\",\"context\"} from each line of the input "
                 "and answers each with a line; without flags and segments those of --data")
      ->excludes(flag, context);
  command->callback([&chosen, options, is_batch, data, flag, context] {
    if (!*is_batch) {
      for (const CLI::Option* needed : {data, flag, context}) {
        if (needed->count() == 0) throw CLI::RequiredError(needed->get_name());
      }
    }
    chosen = [options, is_batch] {
      if (!*is_batch) return evaluate(*options, std::cout, std::cerr);
      std::ios::sync_with_stdio(false);
      return evaluate_batch(options->data_file, std::cin, std::cout, std::cerr);
    };
  });
}

void add_keys(CLI::App& root, Client& client, Chosen& chosen) {
  CLI::App* command =
      add_client_command(root, "keys", "SDK key, mobile key and client-side id", client);
  client.add_place_to(*command);
  auto wants_link = std::make_shared<bool>(false);
  command->add_flag("--setup-link", *wants_link,
                    "instead: a new link that signs one browser in to the page");
  auto rotate_options = std::make_shared<RotateOptions>();
  CLI::App* rotate = add_client_command(*command, "rotate", "a new SDK key; prints it", client);
  client.add_place_to(*rotate);
  rotate->add_flag("--mobile", rotate_options->mobile, "the mobile key instead");
  rotate->add_option("--grace", rotate_options->grace,
                     "how long the old key still works, e.g. 7d; it stops at once if not given");
  rotate->callback([&client, &chosen, rotate_options] {
    chosen = [&client, rotate_options] {
      return keys_rotate(client.transport(), client.console(), client.place, *rotate_options,
                         SystemClock());
    };
  });
  auto id = std::make_shared<std::string>();
  CLI::App* end = add_client_command(*command, "end", "ends an old key before its time", client);
  client.add_place_to(*end);
  end->add_option("id", *id, "as `flagstream keys` shows it")->required();
  end->callback([&client, &chosen, id] {
    chosen = [&client, id] {
      return keys_end(client.transport(), client.console(), client.place, *id);
    };
  });
  command->callback([&client, &chosen, command, wants_link] {
    if (!command->get_subcommands().empty()) return;
    chosen = [&client, wants_link] {
      if (*wants_link) {
        return setup_link(client.transport(), client.console(), address_of(client.options));
      }
      return keys(client.transport(), client.console(), client.place);
    };
  });
}

int run(int argc, char** argv) {
  CLI::App root("Flagstream: feature flags and their event pipeline.", "flagstream");
  root.require_subcommand(1);
  root.set_version_flag("--version", FLAGSTREAM_VERSION);
  Common common;
  Client client;
  Chosen chosen;
  add_serve(root, common, chosen);
  add_config(root, common, chosen);
  add_log(root, common, chosen);
  add_projects(root, client, chosen);
  add_environments(root, client, chosen);
  add_flags(root, client, chosen);
  add_keys(root, client, chosen);
  add_sql(root, common, chosen);
  add_evaluate(root, chosen);
  try {
    root.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return root.exit(error) == 0 ? kExitDone : kExitUsage;
  }
  return chosen();
}

}  // namespace
}  // namespace flagstream::app

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == flagstream::lake::kSqlChild) return flagstream::lake::run_sql_child();
  flagstream::io::arm_crash_points_from_environment();
  return flagstream::app::run(argc, argv);
}
