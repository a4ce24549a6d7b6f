import { useState } from 'preact/hooks';
import { ApiError, createFlag } from './api';

// One line per variation; a line that is JSON is that value, any other is text.
function parseVariations(text: string): { value: unknown }[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => {
      try {
        return { value: JSON.parse(line) as unknown };
      } catch {
        return { value: line };
      }
    });
}

export function CreateFlag({ project, onCreated }: { project: string; onCreated: () => void }) {
  const [key, setKey] = useState('');
  const [name, setName] = useState('');
  const [kind, setKind] = useState<'boolean' | 'values'>('boolean');
  const [values, setValues] = useState('red\nblue');
  const [problem, setProblem] = useState<string | null>(null);

  const submit = async (event: Event) => {
    event.preventDefault();
    setProblem(null);
    try {
      await createFlag(project, { key, name: name || key, variations: kind === 'values' ? parseVariations(values) : undefined });
      setKey('');
      setName('');
      onCreated();
    } catch (error) {
      setProblem(error instanceof ApiError ? error.message : String(error));
    }
  };
  return (
    <details>
      <summary data-testid="new-flag">New flag</summary>
      <form class="create" onSubmit={submit}>
        <label>
          key
          <input
            required
            pattern="[A-Za-z0-9][A-Za-z0-9._\-]*"
            maxLength={256}
            value={key}
            data-testid="new-flag-key"
            onInput={(e) => setKey((e.target as HTMLInputElement).value)}
          />
        </label>
        <label>
          name
          <input value={name} data-testid="new-flag-name" onInput={(e) => setName((e.target as HTMLInputElement).value)} />
        </label>
        <label>
          variations
          <select value={kind} data-testid="new-flag-kind" onChange={(e) => setKind((e.target as HTMLSelectElement).value as typeof kind)}>
            <option value="boolean">true and false</option>
            <option value="values">a list of values</option>
          </select>
        </label>
        {kind === 'values' && (
          <label>
            one per line, text or JSON
            <textarea rows={3} value={values} data-testid="new-flag-values" onInput={(e) => setValues((e.target as HTMLTextAreaElement).value)} />
          </label>
        )}
        <button data-testid="create-flag">create</button>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
      </form>
    </details>
  );
}
