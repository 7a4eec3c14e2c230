import { readFileSync } from 'node:fs';

export interface BuildInfo {
  name: string;
  version: string;
  commit: string;
  built: string;
}

/** What the build wrote beside this module. Run from the sources, there was no build. */
export function readBuildInfo(url = new URL('./build-info.json', import.meta.url)): BuildInfo {
  let text: string;
  try {
    text = readFileSync(url, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      return { name: 'harbour', version: 'unknown', commit: 'unknown', built: 'unknown' };
    }
    throw error;
  }
  return JSON.parse(text) as BuildInfo;
}
